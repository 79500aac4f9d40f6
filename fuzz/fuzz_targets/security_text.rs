//! The messages of SASL's mechanisms, certificates and keys in PEM, Java's way to name a login, and properties files. The first byte chooses
//! which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::kafka::config::PropertiesFile;
use pat_events::kafka::{ClientConfig, fuzzing};

fuzz_target!(|data: &[u8]| {
    let [kind, data @ ..] = data else { return };
    let text = String::from_utf8_lossy(data);
    match kind % 6 {
        0..3 => fuzzing::exchange(*kind % 6, data),
        3 => fuzzing::pem(&text),
        4 => drop(ClientConfig::default().set("sasl.jaas.config", &text)),
        _ => {
            if let Ok(file) = PropertiesFile::parse("file", &text) {
                let mut config = ClientConfig::default();
                drop(file.each(|name, value| config.set(name, value)));
            }
        }
    }
});
