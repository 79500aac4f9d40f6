//! Schemas from text, files, folders and descriptor sets.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::Value;

/// A schema that can be compared with another.
#[derive(Clone, Debug)]
pub struct Schema(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Protobuf(DescriptorPool),
    Avro(Value),
    Json(Value),
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Protobuf(_) => "Protobuf",
            Kind::Avro(_) => "Avro",
            Kind::Json(_) => "JSON schema",
        }
    }
}

/// A schema that cannot be read, or not be compared.
#[derive(Debug)]
pub struct SchemaError(String);

impl SchemaError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        SchemaError(what.into())
    }

    fn at(path: &Path, error: impl fmt::Display) -> Self {
        SchemaError(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for SchemaError {}

impl Schema {
    /// The text of one `.proto` file. It may import what Google ships with Protobuf.
    pub fn protobuf(text: &str) -> Result<Schema, SchemaError> {
        Schema::protobuf_files([("schema.proto", text)])
    }

    /// The texts of several `.proto` files by the names that they import each other by.
    pub fn protobuf_files<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Schema, SchemaError> {
        let texts: Vec<(String, String)> = files
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        let names: Vec<String> = texts.iter().map(|(name, _)| name.clone()).collect();
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        for name in &names {
            compiler.open_file(name).map_err(said)?;
        }
        compiled(&compiler)
    }

    /// An encoded `google.protobuf.FileDescriptorSet` with all that its files import, such as
    /// [`FILE_DESCRIPTOR_SET`](crate::events::email::FILE_DESCRIPTOR_SET).
    pub fn descriptor_set(bytes: &[u8]) -> Result<Schema, SchemaError> {
        match DescriptorPool::decode(bytes) {
            Ok(pool) => Ok(Schema(Kind::Protobuf(pool))),
            Err(error) => Err(SchemaError::new(format!("no descriptor set: {error}"))),
        }
    }

    /// The text of an Avro schema.
    pub fn avro(text: &str) -> Result<Schema, SchemaError> {
        match serde_json::from_str(text) {
            Ok(schema) => Ok(Schema(Kind::Avro(schema))),
            Err(error) => Err(SchemaError::new(format!("no Avro schema: {error}"))),
        }
    }

    /// The text of a JSON schema.
    pub fn json(text: &str) -> Result<Schema, SchemaError> {
        match serde_json::from_str(text) {
            Ok(schema) => Ok(Schema(Kind::Json(schema))),
            Err(error) => Err(SchemaError::new(format!("no JSON schema: {error}"))),
        }
    }

    /// The schema at `path`, by its name: `.proto`, or a folder with such files; `.avsc` for Avro; `.json` for a JSON schema; anything else is
    /// an encoded descriptor set. Imports are looked for where the package of a file says that its folders begin, and beside it.
    pub fn read(path: impl AsRef<Path>) -> Result<Schema, SchemaError> {
        let path = path.as_ref();
        let text = || std::fs::read_to_string(path).map_err(|error| SchemaError::at(path, error));
        let read = match path.extension().and_then(|it| it.to_str()) {
            _ if path.is_dir() => return from_files(path, proto_files(path)?),
            Some("proto") => return from_files(path, vec![path.to_owned()]),
            Some("avsc") => Schema::avro(&text()?),
            Some("json") => Schema::json(&text()?),
            _ => {
                let bytes = std::fs::read(path).map_err(|error| SchemaError::at(path, error))?;
                Schema::descriptor_set(&bytes)
            }
        };
        read.map_err(|error| SchemaError::at(path, error))
    }
}

/// Every `.proto` file below `folder`, sorted.
fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, SchemaError> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|error| SchemaError::at(&folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| SchemaError::at(&folder, error))?;
            let kind = entry
                .file_type()
                .map_err(|error| SchemaError::at(&folder, error))?;
            match entry.path() {
                path if kind.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|it| it == "proto") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(SchemaError::at(folder, "there is no .proto file")),
        false => Ok(found),
    }
}

fn from_files(given: &Path, files: Vec<PathBuf>) -> Result<Schema, SchemaError> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for file in &files {
        let name = file.to_string_lossy();
        let read = File::open(&name, file).map_err(|error| SchemaError::at(file, said(error)))?;
        let parent = file.parent().unwrap_or(Path::new("")).to_owned();
        let package = read.file_descriptor_proto().package();
        let root = root_of(&parent, package).unwrap_or(match given.is_dir() {
            true => given.to_owned(),
            false => parent,
        });
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let read = Compiler::new(roots).and_then(|mut compiler| {
        compiler.include_imports(true).open_files(files)?;
        Ok(compiler)
    });
    let read = read.map_err(said).and_then(|it| compiled(&it));
    read.map_err(|error| SchemaError::at(given, error))
}

/// What was compiled. It is read from its bytes: the compiler's own descriptors were made before options such as `packed` were known.
fn compiled(compiler: &Compiler) -> Result<Schema, SchemaError> {
    Schema::descriptor_set(&compiler.encode_file_descriptor_set())
}

/// The folder in which the folders of `package` begin, when `parent` ends with them.
fn root_of(parent: &Path, package: &str) -> Option<PathBuf> {
    let folders: PathBuf = package.split('.').filter(|it| !it.is_empty()).collect();
    let mut root = parent.ends_with(&folders).then_some(parent)?;
    for _ in folders.components() {
        root = root.parent()?;
    }
    Some(match root.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => root.to_owned(),
    })
}

/// Files that are texts.
struct Texts(Vec<(String, String)>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(it, _)| it == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The error with the place in the file where there is one.
fn said(error: protox::Error) -> SchemaError {
    SchemaError::new(format!("{error:?}").trim_end())
}
