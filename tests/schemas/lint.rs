//! The rules of `buf lint` in its category STANDARD, and those of COMMENTS, by the descriptors. In: files with their sources. Out: breaches, by the
//! names that buf has for the rules.
//!
//! The names that were set for these events conflict with none of them. `PROTOVALIDATE` speaks of an option that is not used here, and the
//! rules of services (`RPC_…`, `SERVICE_…`) of what is not declared: that there is none is checked in their place.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use pat_events::events::email::FILE_DESCRIPTOR_SET;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, FileDescriptor, Kind, MessageDescriptor};

pub fn trials() -> Vec<Trial> {
    let breaches = BREACHES.iter().map(|(rule, name, text)| {
        Trial::test(format!("lint::finds_{}", rule.to_lowercase()), move || {
            let found = lint(&compile(name, text)?);
            match found.iter().any(|it| it.starts_with(rule)) {
                true => Ok(()),
                false => Err(format!("{rule} is not among {found:?}").into()),
            }
        })
    });
    let clean = Trial::test("lint::the_schemas_of_the_events_are_clean", || {
        let found = lint(&DescriptorPool::decode(FILE_DESCRIPTOR_SET)?);
        match found.is_empty() {
            true => Ok(()),
            false => Err(found.join("\n").into()),
        }
    });
    breaches.chain([clean]).collect()
}

/// The rule, the file's name, and a text that breaks the rule.
const BREACHES: &[(&str, &str, &str)] = &[
    ("PACKAGE_DEFINED", "a.proto", "syntax = \"proto3\";"),
    ("PACKAGE_DIRECTORY_MATCH", "b/a.proto", "syntax = \"proto3\"; package p.v1;"),
    ("PACKAGE_LOWER_SNAKE_CASE", "p/V1/a.proto", "syntax = \"proto3\"; package p.V1;"),
    ("PACKAGE_VERSION_SUFFIX", "p/a.proto", "syntax = \"proto3\"; package p;"),
    ("FILE_LOWER_SNAKE_CASE", "p/v1/A.proto", "syntax = \"proto3\"; package p.v1;"),
    ("SYNTAX_SPECIFIED", "p/v1/a.proto", "package p.v1;"),
    ("FIELD_NOT_REQUIRED", "p/v1/a.proto", "syntax = \"proto2\"; package p.v1; message M { required int32 a = 1; }"),
    ("FIELD_LOWER_SNAKE_CASE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M { int32 aB = 1; }"),
    ("ONEOF_LOWER_SNAKE_CASE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M { oneof O { int32 a = 1; } }"),
    ("MESSAGE_PASCAL_CASE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message m_n {}"),
    ("ENUM_PASCAL_CASE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum e_f { E_F_UNSPECIFIED = 0; }"),
    ("ENUM_VALUE_UPPER_SNAKE_CASE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { E_unspecified = 0; }"),
    ("ENUM_VALUE_PREFIX", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { UNSPECIFIED = 0; }"),
    ("ENUM_ZERO_VALUE_SUFFIX", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { E_NONE = 0; }"),
    ("ENUM_FIRST_VALUE_ZERO", "p/v1/a.proto", "syntax = \"proto2\"; package p.v1; enum E { E_A = 1; E_UNSPECIFIED = 0; }"),
    ("ENUM_NO_ALLOW_ALIAS", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { option allow_alias = true; E_UNSPECIFIED = 0; E_ALIAS_UNSPECIFIED = 0; }"),
    ("IMPORT_NO_PUBLIC", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; import public \"google/protobuf/timestamp.proto\";"),
    ("IMPORT_USED", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; import \"google/protobuf/timestamp.proto\";"),
    ("NO_SERVICES", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M {} service S { rpc R(M) returns (M); }"),
    ("COMMENT_MESSAGE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M {}"),
    ("COMMENT_FIELD", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M { int32 a = 1; }"),
    ("COMMENT_ONEOF", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; message M { oneof o { int32 a = 1; } }"),
    ("COMMENT_ENUM", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { E_UNSPECIFIED = 0; }"),
    ("COMMENT_ENUM_VALUE", "p/v1/a.proto", "syntax = \"proto3\"; package p.v1; enum E { E_UNSPECIFIED = 0; }"),
];

/// One file with what Google ships.
pub fn compile(name: &str, text: &str) -> Result<DescriptorPool, Failed> {
    struct One(String, String);
    impl protox::file::FileResolver for One {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            match name == self.0 {
                true => protox::file::File::from_source(name, &self.1),
                false => Err(protox::Error::file_not_found(name)),
            }
        }
    }
    let mut files = protox::file::ChainFileResolver::new();
    files.add(One(name.to_owned(), text.to_owned()));
    files.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_source_info(true).include_imports(true).open_file(name)?;
    Ok(DescriptorPool::decode(&compiler.encode_file_descriptor_set()[..])?)
}

/// Every breach, as `RULE place`.
fn lint(pool: &DescriptorPool) -> Vec<String> {
    let mut found = Vec::new();
    let files: Vec<FileDescriptor> = pool.files().filter(|it| !it.name().starts_with("google/")).collect();
    for file in &files {
        lint_file(file, &mut found);
    }
    lint_packages(&files, &mut found);
    found
}

fn is_lower_snake(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    name.split('_').all(is_part)
}

fn is_upper_snake(name: &str) -> bool {
    is_lower_snake(&name.to_ascii_lowercase()) && name == name.to_ascii_uppercase()
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|it: char| it.is_ascii_uppercase()) && name.bytes().all(|it| it.is_ascii_alphanumeric())
}

fn upper_snake(pascal: &str) -> String {
    let mut out = String::new();
    for (at, letter) in pascal.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn lint_file(file: &FileDescriptor, found: &mut Vec<String>) {
    let proto = file.file_descriptor_proto();
    let (name, package) = (file.name(), file.package_name());
    let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
    let mut want = |holds: bool, rule: &str, place: &str| {
        if !holds {
            found.push(format!("{rule} {name}: {place}"));
        }
    };
    want(proto.syntax.is_some(), "SYNTAX_SPECIFIED", "no syntax");
    want(!package.is_empty(), "PACKAGE_DEFINED", "no package");
    want(package.replace('.', "/") == folder, "PACKAGE_DIRECTORY_MATCH", package);
    want(package.split('.').all(is_lower_snake), "PACKAGE_LOWER_SNAKE_CASE", package);
    let version = package.rsplit('.').next().and_then(|it| it.strip_prefix('v'));
    want(version.is_some_and(|it| it.parse::<u32>().is_ok_and(|it| it > 0)), "PACKAGE_VERSION_SUFFIX", package);
    want(base.strip_suffix(".proto").is_some_and(is_lower_snake), "FILE_LOWER_SNAKE_CASE", base);
    want(proto.public_dependency.is_empty(), "IMPORT_NO_PUBLIC", "a public import");
    want(proto.weak_dependency.is_empty(), "IMPORT_NO_WEAK", "a weak import");
    want(proto.service.is_empty(), "NO_SERVICES", "a service");
    let used = used(file);
    for dependency in file.dependencies() {
        want(used.contains(dependency.name()), "IMPORT_USED", dependency.name());
    }
    let comments = comments(proto);
    let mut commented = |path: &[i32], rule: &str, place: &str| want(comments.contains(path), rule, place);
    for extension in file.extensions() {
        commented(extension.path(), "COMMENT_FIELD", extension.full_name());
    }
    let pool = file.parent_pool();
    let messages: Vec<MessageDescriptor> = pool.all_messages().filter(|it| it.parent_file() == *file && !it.is_map_entry()).collect();
    let enums: Vec<EnumDescriptor> = pool.all_enums().filter(|it| it.parent_file() == *file).collect();
    for message in &messages {
        commented(message.path(), "COMMENT_MESSAGE", message.full_name());
        for field in message.fields() {
            commented(field.path(), "COMMENT_FIELD", field.full_name());
        }
        for oneof in message.oneofs().filter(|it| !it.is_synthetic()) {
            commented(oneof.path(), "COMMENT_ONEOF", oneof.full_name());
        }
    }
    for one in &enums {
        commented(one.path(), "COMMENT_ENUM", one.full_name());
        for value in one.values() {
            commented(value.path(), "COMMENT_ENUM_VALUE", value.full_name());
        }
    }
    for message in &messages {
        want(is_pascal(message.name()), "MESSAGE_PASCAL_CASE", message.full_name());
        for field in message.fields() {
            want(is_lower_snake(field.name()), "FIELD_LOWER_SNAKE_CASE", field.full_name());
            want(!field.is_required(), "FIELD_NOT_REQUIRED", field.full_name());
        }
        for oneof in message.oneofs().filter(|it| !it.is_synthetic()) {
            want(is_lower_snake(oneof.name()), "ONEOF_LOWER_SNAKE_CASE", oneof.full_name());
        }
    }
    for one in &enums {
        want(is_pascal(one.name()), "ENUM_PASCAL_CASE", one.full_name());
        let options = one.enum_descriptor_proto().options.as_ref();
        want(!options.is_some_and(|it| it.allow_alias()), "ENUM_NO_ALLOW_ALIAS", one.full_name());
        want(one.enum_descriptor_proto().value.first().is_some_and(|it| it.number() == 0), "ENUM_FIRST_VALUE_ZERO", one.full_name());
        let prefix = upper_snake(one.name()) + "_";
        for value in one.values() {
            want(is_upper_snake(value.name()), "ENUM_VALUE_UPPER_SNAKE_CASE", value.full_name());
            want(value.name().starts_with(&prefix), "ENUM_VALUE_PREFIX", value.full_name());
            want(value.number() != 0 || value.name().ends_with("_UNSPECIFIED"), "ENUM_ZERO_VALUE_SUFFIX", value.full_name());
        }
    }
}

/// What the files of a package have in common, and where packages lie.
fn lint_packages(files: &[FileDescriptor], found: &mut Vec<String>) {
    let folder = |file: &FileDescriptor| file.name().rsplit_once('/').map_or("", |(it, _)| it).to_owned();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let package = file.package_name().to_owned();
        for other in files {
            let (same_package, same_folder) = (other.package_name() == package, folder(other) == folder(file));
            if same_package && !same_folder {
                found.push(format!("PACKAGE_SAME_DIRECTORY {package}"));
            }
            if same_folder && !same_package {
                found.push(format!("DIRECTORY_SAME_PACKAGE {package}"));
            }
            let options = |file: &FileDescriptor| {
                let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
                [
                    ("CSHARP_NAMESPACE", options.csharp_namespace),
                    ("GO_PACKAGE", options.go_package),
                    ("JAVA_MULTIPLE_FILES", options.java_multiple_files.map(|it| it.to_string())),
                    ("JAVA_PACKAGE", options.java_package),
                    ("PHP_NAMESPACE", options.php_namespace),
                    ("RUBY_PACKAGE", options.ruby_package),
                    ("SWIFT_PREFIX", options.swift_prefix),
                ]
            };
            for (one, other) in options(file).iter().zip(options(other)).filter(|_| same_package) {
                if *one != other {
                    found.push(format!("PACKAGE_SAME_{} {package}", one.0));
                }
            }
        }
        let imported = file.dependencies().map(|it| it.package_name().to_owned());
        edges.entry(package.clone()).or_default().extend(imported.filter(|it| *it != package));
    }
    for package in edges.keys() {
        let (mut reached, mut next) = (BTreeSet::new(), vec![package]);
        while let Some(at) = next.pop() {
            next.extend(edges.get(at).into_iter().flatten().filter(|it| reached.insert(*it)));
        }
        if reached.contains(package) {
            found.push(format!("PACKAGE_NO_IMPORT_CYCLE {package}"));
        }
    }
}

/// The files whose types or options `file` uses.
fn used(file: &FileDescriptor) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let of_kind = |kind: Kind| match kind {
        Kind::Message(message) => Some(message.parent_file().name().to_owned()),
        Kind::Enum(one) => Some(one.parent_file().name().to_owned()),
        _ => None,
    };
    let of_options = |options: DynamicMessage| -> Vec<String> {
        options.extensions().map(|(it, _)| it.parent_file().name().to_owned()).collect()
    };
    used.extend(of_options(file.options()));
    for extension in file.extensions() {
        used.insert(extension.containing_message().parent_file().name().to_owned());
        used.extend(of_kind(extension.kind()));
    }
    for message in file.parent_pool().all_messages().filter(|it| it.parent_file() == *file) {
        used.extend(of_options(message.options()));
        for field in message.fields() {
            used.extend(of_kind(field.kind()));
            used.extend(of_options(field.options()));
        }
    }
    for one in file.parent_pool().all_enums().filter(|it| it.parent_file() == *file) {
        used.extend(of_options(one.options()));
        used.extend(one.values().flat_map(|it| of_options(it.options())));
    }
    used
}

/// The paths of what has a comment before it.
fn comments(file: &FileDescriptorProto) -> BTreeSet<Vec<i32>> {
    let locations = file.source_code_info.iter().flat_map(|it| &it.location);
    let commented = locations.filter(|it| !it.leading_comments().trim().is_empty());
    commented.map(|it| it.path.clone()).collect()
}
