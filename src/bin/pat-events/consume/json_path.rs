//! A place in JSON, and what is to be there. In: `$.user.id = 7`. Out: whether a document has it.

use std::str::FromStr;

use regex_lite::Regex;
use serde_json::Value;

/// What is to be at a place.
#[derive(Clone, Debug)]
pub struct Condition {
    path: Vec<Step>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(usize),
    /// Any item or field.
    Any,
}

#[derive(Clone, Debug)]
enum Test {
    /// Anything but null.
    IsThere,
    Is(Order, Value),
    Matches(Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer before shorter: `<=` is no `<`.
const OPERATORS: [(&str, Order); 7] = [
    ("==", Order::Equal),
    ("!=", Order::NotEqual),
    ("<=", Order::LessOrEqual),
    (">=", Order::GreaterOrEqual),
    ("=", Order::Equal),
    ("<", Order::Less),
    (">", Order::Greater),
];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let (path, after) = path(text.trim())
            .ok_or_else(|| format!("{text:?} has no place in JSON: write $.user.id, $.items[0].name, $.items[*], $[\"a name\"]"))?;
        let after = after.trim();
        let test = match after.strip_prefix('~') {
            _ if after.is_empty() => Test::IsThere,
            Some(pattern) => Test::Matches(Regex::new(pattern.trim()).map_err(|error| {
                format!("{:?} is no regular expression: {error}", pattern.trim())
            })?),
            None => {
                let found = OPERATORS
                    .iter()
                    .find_map(|(sign, order)| Some((*order, after.strip_prefix(sign)?)));
                let (order, value) = found.ok_or_else(|| {
                    format!("{text:?}: after the place comes nothing, or =, !=, <, <=, >, >= with a value, or ~ with a regular expression")
                })?;
                Test::Is(order, literal(value.trim()))
            }
        };
        Ok(Condition { path, test })
    }
}

/// A value as JSON has it, or a text without quotes.
fn literal(text: &str) -> Value {
    let unquoted = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''));
    match unquoted {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// The steps at the beginning of a text, and what follows.
fn path(text: &str) -> Option<(Vec<Step>, &str)> {
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    let mut steps = Vec::new();
    loop {
        if let Some(field) = rest.strip_prefix('.') {
            let end = field.find(|sign: char| !(sign.is_alphanumeric() || "_-*".contains(sign)));
            let (name, after) = field.split_at(end.unwrap_or(field.len()));
            steps.push(match name {
                "" => return None,
                "*" => Step::Any,
                name => Step::Field(name.to_owned()),
            });
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = match inside.chars().next()? {
                quote @ ('"' | '\'') => {
                    let (name, after) = inside[1..].split_once(quote)?;
                    (Step::Field(name.to_owned()), after)
                }
                '*' => (Step::Any, &inside[1..]),
                _ => {
                    let (number, _) = inside.split_once(']')?;
                    (
                        Step::Item(number.trim().parse().ok()?),
                        &inside[number.len()..],
                    )
                }
            };
            steps.push(step);
            rest = after.strip_prefix(']')?;
        } else {
            let is_path = text.starts_with('$') || !steps.is_empty();
            return is_path.then_some((steps, rest));
        }
    }
}

impl Condition {
    /// Whether any of what is at the place is as it is to be.
    pub fn holds(&self, document: &Value) -> bool {
        holds_at(document, &self.path, &self.test)
    }
}

fn holds_at(value: &Value, path: &[Step], test: &Test) -> bool {
    let Some((step, further)) = path.split_first() else {
        return test.holds(value);
    };
    match (step, value) {
        (Step::Field(name), Value::Object(object)) => object
            .get(name)
            .is_some_and(|value| holds_at(value, further, test)),
        (Step::Item(number), Value::Array(items)) => items
            .get(*number)
            .is_some_and(|value| holds_at(value, further, test)),
        (Step::Any, Value::Array(items)) => {
            items.iter().any(|value| holds_at(value, further, test))
        }
        (Step::Any, Value::Object(object)) => {
            object.values().any(|value| holds_at(value, further, test))
        }
        _ => false,
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Test::IsThere => !value.is_null(),
            Test::Matches(pattern) => match value {
                Value::String(text) => pattern.is_match(text),
                other => pattern.is_match(&other.to_string()),
            },
            Test::Is(order, wanted) => {
                let compared = compare(value, wanted);
                match order {
                    Order::Equal => compared.is_some_and(|it| it.is_eq()),
                    Order::NotEqual => compared.is_none_or(|it| it.is_ne()),
                    Order::Less => compared.is_some_and(|it| it.is_lt()),
                    Order::LessOrEqual => compared.is_some_and(|it| it.is_le()),
                    Order::Greater => compared.is_some_and(|it| it.is_gt()),
                    Order::GreaterOrEqual => compared.is_some_and(|it| it.is_ge()),
                }
            }
        }
    }
}

/// Numbers by size, texts by their letters; a number written without quotes is like a text of these digits.
fn compare(value: &Value, wanted: &Value) -> Option<std::cmp::Ordering> {
    match (value, wanted) {
        (Value::Number(one), Value::Number(other)) => {
            let whole = one.as_i64().zip(other.as_i64());
            match whole {
                Some((one, other)) => Some(one.cmp(&other)),
                None => one.as_f64()?.partial_cmp(&other.as_f64()?),
            }
        }
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::String(text), Value::Number(number)) => {
            Some(text.as_str().cmp(&number.to_string()))
        }
        (one, other) if one == other => Some(std::cmp::Ordering::Equal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str, document: &Value) -> bool {
        condition
            .parse::<Condition>()
            .expect(condition)
            .holds(document)
    }

    #[test]
    fn what_is_at_a_place_is_compared_as_what_it_is() {
        let document = json!({
            "user": {"id": 7, "name": "ann", "a b": true, "code": "007"},
            "items": [{"sku": "x", "price": 1.5}, {"sku": "y", "price": 20}],
            "gone": null,
        });
        for condition in [
            "$.user.id = 7",
            "$.user.id==7",
            ".user.id >= 7",
            "$.user.id < 7.5",
            "$.user.id != 8",
            "$.user.name = ann",
            "$.user.name = \"ann\"",
            "$.user.name = 'ann'",
            "$.user.name ~ ^a",
            "$.user[\"a b\"] = true",
            "$['user'].id > 6",
            "$.user.code = \"007\"",
            "$.items[1].price > 9",
            "$.items[*].sku = y",
            "$.items",
            "$.gone = null",
            "$.user.*  = ann",
        ] {
            assert!(holds(condition, &document), "{condition}");
        }
        for condition in [
            "$.user.id = 8",
            "$.user.id < 7",
            "$.user.name ~ ^b",
            "$.gone",
            "$.nothing",
            "$.nothing = null",
            "$.items[2].sku = x",
            "$.items[*].price > 20",
        ] {
            assert!(!holds(condition, &document), "{condition}");
        }
        assert!(holds("$ = 7", &json!(7)));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_one_looks_like() {
        for wrong in [
            "", "user", "$.", "$[", "$[x]", "$[\"a\"", "$.a ? 7", "$.a ~ (",
        ] {
            assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
        }
        let error = "user.id = 7".parse::<Condition>().expect_err("no place");
        assert!(error.contains("$.user.id"), "{error}");
    }
}
