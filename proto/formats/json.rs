//! JSON, written: no more of it than schemas need.

/// A value; the entries of an object keep their order.
pub enum Json {
    Null,
    Number(i64),
    Bool(bool),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn object<const N: usize>(entries: [(&str, Json); N]) -> Self {
        let entries = entries.into_iter();
        Self::Object(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// As a file: an entry a line.
    pub fn file(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out.push('\n');
        out
    }

    fn write(&self, depth: usize, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Text(text) => quote(text, out),
            Self::List(items)
                if items
                    .iter()
                    .all(|it| !matches!(it, Self::Object(_) | Self::List(_))) =>
            {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { ", " });
                    item.write(depth, out);
                }
                out.push(']');
            }
            Self::List(items) => lines('[', ']', depth, out, items, |item, out| {
                item.write(depth + 1, out)
            }),
            Self::Object(entries) => lines('{', '}', depth, out, entries, |(key, value), out| {
                quote(key, out);
                out.push_str(": ");
                value.write(depth + 1, out);
            }),
        }
    }
}

fn lines<T>(
    open: char,
    close: char,
    depth: usize,
    out: &mut String,
    of: &[T],
    write: impl Fn(&T, &mut String),
) {
    out.push(open);
    for (place, it) in of.iter().enumerate() {
        out.push_str(if place == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        write(it, out);
    }
    if !of.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", char as u32)),
            char => out.push(char),
        }
    }
    out.push('"');
}
