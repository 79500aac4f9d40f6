//! AWS's profile files. In: their text. Out: profiles by name.

use std::collections::BTreeMap;

use crate::kafka::config::Secret;

/// How much of a file is read, in bytes.
pub(super) const LONGEST_FILE: u64 = 1 << 20;

/// What stands in a profile, by name in small letters.
pub(in crate::kafka::net::auth) type Profile = BTreeMap<String, Secret>;

/// Reads a file's text into `profiles`: what stands there already stays. In `~/.aws/config` all sections but `default` are called
/// `profile NAME`, in `~/.aws/credentials` `NAME`. Lines that mean nothing are passed over, as the SDKs do.
pub(in crate::kafka::net::auth) fn read(
    text: &str,
    is_config: bool,
    profiles: &mut BTreeMap<String, Profile>,
) {
    let mut section = None;
    let mut own = Profile::new();
    let mut end = |name: Option<String>, own: Profile| {
        if let Some(name) = name {
            let profile: &mut Profile = profiles.entry(name).or_default();
            for (key, value) in own {
                profile.entry(key).or_insert(value);
            }
        }
    };
    for line in text.lines() {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            end(section.take(), std::mem::take(&mut own));
            section = header
                .split_once(']')
                .and_then(|(name, _)| profile_name(name.trim(), is_config));
            continue;
        }
        // What is indented belongs to a setting of several lines, none of which is read.
        if let (Some((key, value)), false) = (line.split_once('='), is_indented) {
            let value = value.trim();
            let comment = [" #", " ;"]
                .iter()
                .filter_map(|mark| value.find(mark))
                .min();
            let value = value[..comment.unwrap_or(value.len())].trim_end();
            own.insert(key.trim().to_ascii_lowercase(), Secret::new(value));
        }
    }
    end(section, own);
}

fn profile_name(section: &str, is_config: bool) -> Option<String> {
    let name = match section.split_once([' ', '\t']) {
        Some(("profile", name)) if is_config => name.trim(),
        Some(_) => return None,
        None if is_config && section != "default" => return None,
        None => section,
    };
    let name = name.trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_the_sdks_read_them() {
        let credentials = "junk = 1\n[default]\naws_access_key_id = AK\nAWS_SECRET_ACCESS_KEY=a=b/c # mine\n\n[other]\n# no\naws_access_key_id=O\n";
        let config = "[default]\nregion = eu-west-1\naws_access_key_id = IGNORED\n[profile other]\nrole_arn= arn:x\ns3 =\n  region = nested\n\
                      [services x]\nregion = no\n[other]\nregion = no\n[profile \"quoted name\"]\nregion=q\n[profile ]\na=b\n[broken\nregion=b\n";
        let mut profiles = BTreeMap::new();
        read(credentials, false, &mut profiles);
        read(config, true, &mut profiles);
        let value = |profile: &str, key: &str| profiles.get(profile)?.get(key).map(Secret::reveal);
        assert_eq!(value("default", "aws_access_key_id"), Some("AK"));
        assert_eq!(value("default", "aws_secret_access_key"), Some("a=b/c"));
        assert_eq!(value("default", "region"), Some("eu-west-1"));
        assert_eq!(value("other", "aws_access_key_id"), Some("O"));
        assert_eq!(value("other", "role_arn"), Some("arn:x"));
        assert_eq!(value("other", "region"), None);
        assert_eq!(value("quoted name", "region"), Some("q"));
        assert_eq!(profiles.len(), 3);
    }
}
