//! JSON that holds secrets.

use serde_json::Value;
use zeroize::Zeroize;

/// JSON whose texts are overwritten when it is dropped.
pub(super) struct SecretJson(Value);

impl SecretJson {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }

    /// The text called `name` in the object that this is, if it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A whole number that is not negative, also where it is written as a text.
    #[cfg(feature = "oauth-oidc")]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        (number >= 0.0).then_some(number as u64)
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        fn wipe(value: &mut Value) {
            match value {
                Value::String(text) => text.zeroize(),
                Value::Array(values) => values.iter_mut().for_each(wipe),
                Value::Object(fields) => fields.values_mut().for_each(wipe),
                _ => {}
            }
        }
        wipe(&mut self.0);
    }
}
