//! Messages of Protobuf by files of one's own, as JSON, without a registry. In: `.proto` files or descriptor sets, and the name of a message. Out: how
//! bytes are read as it, and JSON is written as it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use protox::Compiler;
use serde_json::Value;

use crate::Outcome;

/// Where messages are defined.
#[derive(Args, Clone, Debug, Default)]
pub struct MessageFiles {
    /// A .proto file that defines messages; may be given several times.
    #[arg(long = "proto", value_name = "FILE")]
    protos: Vec<PathBuf>,
    /// A folder where these files, and what they import, are looked for; may be given several times. The folder of each file is one, too.
    #[arg(short = 'I', long = "proto-path", value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// A file with an encoded descriptor set that defines messages, as `protoc --include_imports --descriptor_set_out` writes it; may be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    descriptor_set: Vec<PathBuf>,
}

/// What keys and values are, where they are messages.
#[derive(Args, Clone, Debug, Default)]
pub struct MessageOptions {
    #[command(flatten)]
    files: MessageFiles,
    /// Values are messages of this name, such as shop.v1.Order, of --proto or --descriptor-set; the name without its package will do where only one
    /// has it. It can be left out where there is only one message in all files.
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// Keys are messages of this name, likewise.
    #[arg(long, value_name = "NAME")]
    key_message: Option<String>,
}

/// What keys and values are messages of, where they are.
#[derive(Default)]
pub struct Messages {
    pub key: Option<MessageDescriptor>,
    pub value: Option<MessageDescriptor>,
}

impl MessageOptions {
    /// Whether anything is said of messages.
    pub fn are_given(&self) -> bool {
        self.message.is_some() || self.key_message.is_some() || self.files.are_given()
    }

    /// Reads the files. Fails where they cannot be read, or have no such messages.
    pub fn load(&self) -> Outcome<Messages> {
        if !self.are_given() {
            return Ok(Messages::default());
        }
        let files = self.files.load()?;
        Ok(Messages {
            key: match &self.key_message {
                Some(name) => Some(files.message(Some(name))?),
                None => None,
            },
            value: match (&self.message, &self.key_message) {
                (None, Some(_)) => None,
                (name, _) => Some(files.message(name.as_deref())?),
            },
        })
    }
}

impl MessageFiles {
    pub fn are_given(&self) -> bool {
        !self.protos.is_empty() || !self.descriptor_set.is_empty() || !self.folders.is_empty()
    }

    pub fn load(&self) -> Outcome<Definitions> {
        let mut pool = DescriptorPool::new();
        let mut named = Vec::new();
        for path in &self.descriptor_set {
            let at = |error: String| format!("{}: {error}", path.display());
            let bytes = fs::read(path).map_err(|error| at(error.to_string()))?;
            let added = pool.decode_file_descriptor_set(&bytes[..]);
            added.map_err(|error| {
                at(format!(
                    "it is no descriptor set, or lacks what it imports: {error}"
                ))
            })?;
            let files = pool.files().map(|file| file.name().to_owned());
            named.extend(files);
        }
        if !self.protos.is_empty() {
            let own = self.protos.iter().map(|path| match path.parent() {
                Some(parent) if parent != Path::new("") => parent.to_owned(),
                _ => PathBuf::from("."),
            });
            let mut compiler = Compiler::new(self.folders.iter().cloned().chain(own))?;
            compiler.include_imports(true);
            for path in &self.protos {
                let opened = compiler.open_file(path);
                // What is wrong is told with its line.
                opened.map_err(|error| format!("{error:?}").trim_end().to_owned())?;
            }
            for file in compiler.files() {
                if !file.is_import() {
                    named.push(file.name().to_owned());
                }
            }
            pool.add_file_descriptor_set(compiler.file_descriptor_set())?;
        }
        Ok(Definitions { pool, named })
    }
}

/// What files define.
pub struct Definitions {
    pool: DescriptorPool,
    /// The files that were named, and not only imported by others.
    named: Vec<String>,
}

impl Definitions {
    /// The message of this name; without one the only message that there is.
    pub fn message(&self, name: Option<&str>) -> Outcome<MessageDescriptor> {
        let Some(name) = name else {
            let files = self
                .pool
                .files()
                .filter(|file| self.named.iter().any(|it| it == file.name()));
            let top: Vec<_> = files
                .flat_map(|file| file.messages().collect::<Vec<_>>())
                .collect();
            return match &top[..] {
                [one] => Ok(one.clone()),
                several => Err(format!(
                    "which message is it? Say --message NAME: {}",
                    names(several.iter().cloned())
                )
                .into()),
            };
        };
        if let Some(message) = self.pool.get_message_by_name(name) {
            return Ok(message);
        }
        let short: Vec<_> = self
            .pool
            .all_messages()
            .filter(|it| it.name() == name)
            .collect();
        match &short[..] {
            [one] => Ok(one.clone()),
            [] if self.named.is_empty() => Err(format!(
                "where is {name} defined? Say --proto FILE or --descriptor-set FILE"
            )
            .into()),
            [] => Err(format!(
                "no message is called {name:?}; there is {}",
                names(self.pool.all_messages())
            )
            .into()),
            several => Err(format!(
                "several messages are called {name:?}: {}",
                names(several.iter().cloned())
            )
            .into()),
        }
    }
}

/// Messages as they are listed: the first ones.
fn names(messages: impl Iterator<Item = MessageDescriptor>) -> String {
    const MOST: usize = 20;
    let own = messages.filter(|it| !it.full_name().starts_with("google.protobuf."));
    let mut names: Vec<String> = own.map(|it| it.full_name().to_owned()).collect();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// What these bytes say as a message, by the names that its file gives to fields.
pub fn read(message: MessageDescriptor, data: &[u8]) -> Result<Value, String> {
    let name = message.full_name().to_owned();
    let message = DynamicMessage::decode(message, data)
        .map_err(|error| format!("it is no {name}: {error}"))?;
    let names = SerializeOptions::new().use_proto_field_name(true);
    let json = message.serialize_with_options(serde_json::value::Serializer, &names);
    json.map_err(|error| error.to_string())
}

/// The message that this JSON describes, encoded.
pub fn write(message: MessageDescriptor, value: Value) -> Result<Vec<u8>, String> {
    let message = DynamicMessage::deserialize(message, value).map_err(|error| error.to_string())?;
    Ok(message.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A folder with files, which is gone in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let folder =
                std::env::temp_dir().join(format!("pat-events-{name}-{}", std::process::id()));
            for (name, text) in files {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("written");
            }
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const SHOP: &str = r#"syntax = "proto3"; package shop.v1;
        import "common/money.proto"; import "google/protobuf/timestamp.proto";
        message Order { string id = 1; common.Money total = 2; google.protobuf.Timestamp at = 3; }"#;
    const MONEY: &str = r#"syntax = "proto3"; package common; message Money { int64 cents = 1; }"#;

    fn folder(name: &str) -> Folder {
        Folder::new(
            name,
            &[("shop/v1/order.proto", SHOP), ("common/money.proto", MONEY)],
        )
    }

    #[test]
    fn a_message_of_files_that_import_others_is_read_as_it_was_written() {
        let folder = folder("protos");
        let options = |name: Option<&str>| MessageOptions {
            files: MessageFiles {
                protos: vec![folder.0.join("shop/v1/order.proto")],
                folders: vec![folder.0.clone()],
                ..MessageFiles::default()
            },
            message: name.map(str::to_owned),
            key_message: None,
        };
        let order = json!({"id": "o-1", "total": {"cents": "7"}, "at": "2026-11-26T13:00:00Z"});
        // The only one of the files that were named; by its name, and by the end of that.
        for name in [None, Some("shop.v1.Order"), Some("Order")] {
            let messages = options(name).load().expect("files");
            assert!(messages.key.is_none());
            let message = messages.value.expect("a message");
            let bytes = write(message.clone(), order.clone()).expect("written");
            assert_eq!(read(message.clone(), &bytes), Ok(order.clone()));
            let error = read(message.clone(), &[0xff]).expect_err("no message");
            assert!(error.starts_with("it is no shop.v1.Order: "), "{error}");
            let error = write(message, json!({"idd": "x"})).expect_err("misspelt");
            assert!(error.contains("idd"), "{error}");
        }
        let error = options(Some("Ordre"))
            .load()
            .err()
            .expect("misspelt")
            .to_string();
        assert_eq!(
            error,
            "no message is called \"Ordre\"; there is common.Money, shop.v1.Order"
        );
    }

    #[test]
    fn a_descriptor_set_has_messages_for_keys_as_well() {
        let folder = folder("sets");
        let mut compiler = Compiler::new([&folder.0]).expect("a folder");
        compiler.include_imports(true);
        compiler.open_file("shop/v1/order.proto").expect("a file");
        let path = folder.0.join("shop.binpb");
        fs::write(&path, compiler.encode_file_descriptor_set()).expect("written");
        let options = |path: PathBuf, name: Option<&str>| MessageOptions {
            files: MessageFiles {
                descriptor_set: vec![path],
                ..MessageFiles::default()
            },
            message: name.map(str::to_owned),
            key_message: Some("common.Money".to_owned()),
        };
        let messages = options(path.clone(), None).load().expect("a set");
        assert!(messages.value.is_none(), "keys alone are messages");
        assert_eq!(messages.key.expect("a message").full_name(), "common.Money");
        let messages = options(path, Some("Order")).load().expect("a set");
        assert_eq!(
            messages.value.expect("a message").full_name(),
            "shop.v1.Order"
        );
        let none = folder.0.join("common/money.proto");
        let error = options(none, None)
            .load()
            .err()
            .expect("no set")
            .to_string();
        assert!(
            error.contains("money.proto: it is no descriptor set"),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_said_or_not_there_is_told() {
        let folder = folder("errors");
        fs::write(
            folder.0.join("two.proto"),
            "syntax = \"proto3\"; message A {} message B {}",
        )
        .expect("written");
        fs::write(
            folder.0.join("bad.proto"),
            "syntax = \"proto3\";\nmessage {",
        )
        .expect("written");
        let load = |files: &[&str], name: Option<&str>| {
            let options = MessageOptions {
                files: MessageFiles {
                    protos: files.iter().map(|file| folder.0.join(file)).collect(),
                    ..MessageFiles::default()
                },
                message: name.map(str::to_owned),
                key_message: None,
            };
            options.load().err().expect("an error").to_string()
        };
        assert_eq!(
            load(&[], Some("A")),
            "where is A defined? Say --proto FILE or --descriptor-set FILE"
        );
        assert_eq!(
            load(&["two.proto"], None),
            "which message is it? Say --message NAME: A, B"
        );
        let error = load(&["bad.proto"], None);
        assert!(error.contains("bad.proto:2"), "{error}");
        // Its imports are not in its own folder.
        let error = load(&["shop/v1/order.proto"], None);
        assert!(error.contains("common/money.proto"), "{error}");
        let error = load(&["none.proto"], None);
        assert!(error.contains("none.proto"), "{error}");
    }
}
