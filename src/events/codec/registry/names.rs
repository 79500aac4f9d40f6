//! Names of messages in a `.proto` file: no more of its grammar than it takes to find them.

/// The full name of the message at this place: the index among the messages of the file, then among those within it, and so on. `None` when
/// there is none, or the text is not understood.
pub(super) fn message_at(text: &str, indexes: &[u32]) -> Option<String> {
    let tokens = tokens(text);
    let mut package = String::new();
    let mut rest = &tokens[..];
    // `package a.b;` stands outside of everything.
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            "package" if depth == 0 => package = tokens.get(place + 1)?.to_string(),
            _ => {}
        }
    }
    let mut name = package;
    for index in indexes {
        let (found, within) = nth_message(rest, *index)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(found);
        rest = within;
    }
    Some(name)
}

/// The full name of the message that is called `name` and stands in no other.
pub(super) fn message_called(text: &str, name: &str) -> Option<String> {
    let full = (0..).map_while(|index| message_at(text, &[index]));
    let mut full = full.take_while(|_| !name.is_empty());
    full.find(|it| it.rsplit('.').next() == Some(name))
}

/// The name of the n-th message at this level, and what is within its braces.
fn nth_message<'a, 'b>(tokens: &'b [&'a str], n: u32) -> Option<(&'a str, &'b [&'a str])> {
    let (mut place, mut met) = (0, 0);
    while place < tokens.len() {
        let is_message = tokens[place] == "message" && tokens.get(place + 2) == Some(&"{");
        if is_message {
            let end = closing(tokens, place + 2)?;
            if met == n {
                return Some((tokens[place + 1], &tokens[place + 3..end]));
            }
            met += 1;
            place = end;
        } else if tokens[place] == "{" {
            place = closing(tokens, place)?;
        }
        place += 1;
    }
    None
}

/// The place of the brace that closes the one at `open`.
fn closing(tokens: &[&str], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(place);
        }
    }
    None
}

/// Words (with their dots) and single signs; comments and texts are left out.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(comment) = rest.strip_prefix("//") {
            2 + comment.find('\n').unwrap_or(comment.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            2 + comment.find("*/").map_or(comment.len(), |end| end + 2)
        } else if first == '"' || first == '\'' {
            let mut is_escaped = false;
            let end = rest[1..].find(|char| {
                let ends = char == first && !is_escaped;
                is_escaped = char == '\\' && !is_escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
            let len = match rest.find(|char| !is_word(char)) {
                Some(0) => first.len_utf8(),
                Some(len) => len,
                None => rest.len(),
            };
            if !first.is_whitespace() {
                tokens.push(&rest[..len]);
            }
            len
        };
        rest = &rest[taken..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"
        syntax = "proto3"; // message No {}
        package shop.v1;
        /* message NorThis {} */
        option java_package = "message Nor { that";
        message Placed {
          enum State { OPEN = 0; }
          message Line { string name = 1; message Deep {} }
          oneof message_or { string message = 1; Line line = 2; }
          message Last {}
        }
        enum Other { NONE = 0; }
        message Shipped { Placed.Line message = 1; }
    "#;

    #[test]
    fn messages_are_found_by_their_place() {
        for (indexes, name) in [
            (&[0][..], Some("shop.v1.Placed")),
            (&[0, 0], Some("shop.v1.Placed.Line")),
            (&[0, 0, 0], Some("shop.v1.Placed.Line.Deep")),
            (&[0, 1], Some("shop.v1.Placed.Last")),
            (&[1], Some("shop.v1.Shipped")),
            (&[2], None),
            (&[1, 0], None),
        ] {
            assert_eq!(message_at(FILE, indexes).as_deref(), name, "{indexes:?}");
        }
        for (name, full) in [
            ("Placed", Some("shop.v1.Placed")),
            ("Shipped", Some("shop.v1.Shipped")),
            ("Line", None),
            ("", None),
        ] {
            assert_eq!(message_called(FILE, name).as_deref(), full, "{name}");
        }
        assert_eq!(message_at("message A {}", &[0]).as_deref(), Some("A"));
        assert_eq!(message_at("message A {", &[0]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "(message|[{}\"'\\\\/*a.;\u{e9}\n ]){0,40}") {
            let _ = message_at(&text, &[0, 1]);
        }
    }
}
