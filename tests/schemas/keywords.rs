//! No name in the schemas is a word that one of the languages keeps for itself: generated code would call it otherwise there.

use libtest_mimic::{Failed, Trial};
use pat_events::events::email::FILE_DESCRIPTOR_SET;
use prost_reflect::DescriptorPool;

use crate::lint::compile;

/// Reserved words, those included that are reserved in some places only.
const LANGUAGES: &[(&str, &str)] = &[
    (
        "Python",
        "False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return self try type while with yield",
    ),
    (
        "Go",
        "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var append cap close complex copy delete error iota len make new nil panic print println real recover string bool byte rune uintptr any",
    ),
    (
        "Java",
        "abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for goto if implements import instanceof int interface long native new package private protected public return short static strictfp super switch synchronized this throw throws transient try void volatile while true false null var record yield sealed permits when exports module opens open provides requires to uses with transitive",
    ),
    (
        "TypeScript",
        "abstract accessor any as asserts assert async await bigint boolean break case catch class const constructor continue debugger declare default delete do else enum export extends false finally for from function get global if implements import in infer instanceof interface intrinsic is keyof let module namespace never new null number object of out override package private protected public readonly require return satisfies set static string super switch symbol this throw true try type typeof undefined unique unknown using var void while with yield arguments eval",
    ),
    (
        "Rust",
        "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof unsafe unsized use virtual where while yield",
    ),
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("keywords::no_field_is_one", || {
            let found = keywords(&DescriptorPool::decode(FILE_DESCRIPTOR_SET)?);
            match found.is_empty() {
                true => Ok(()),
                false => Err(found.join("\n").into()),
            }
        }),
        Trial::test("keywords::a_field_that_is_one_is_found", || {
            for (language, word) in [
                ("Python", "from"),
                ("Go", "type"),
                ("Java", "default"),
                ("TypeScript", "of"),
                ("Rust", "move"),
            ] {
                let text = format!("syntax = \"proto3\"; message M {{ string {word} = 1; }}");
                let found = keywords(&compile("a.proto", &text)?);
                if !found.iter().any(|it| it.contains(language)) {
                    return Err(Failed::from(format!(
                        "{word} of {language} is not in {found:?}"
                    )));
                }
            }
            Ok(())
        }),
    ]
}

/// Every field and oneof of ours that is a keyword, in Protobuf or in JSON.
fn keywords(pool: &DescriptorPool) -> Vec<String> {
    let mut found = Vec::new();
    let messages = pool.all_messages();
    for message in
        messages.filter(|it| it.package_name() != "google.protobuf" && !it.is_map_entry())
    {
        let fields = message
            .fields()
            .flat_map(|it| [it.name().to_owned(), it.json_name().to_owned()]);
        let oneofs = message.oneofs().filter(|it| !it.is_synthetic());
        let packages = message.package_name().split('.').map(str::to_owned);
        for name in fields
            .chain(oneofs.map(|it| it.name().to_owned()))
            .chain(packages)
        {
            for (language, words) in LANGUAGES {
                if words.split(' ').any(|it| it == name) {
                    found.push(format!(
                        "{}.{name} is a keyword in {language}",
                        message.full_name()
                    ));
                }
            }
        }
    }
    found
}
