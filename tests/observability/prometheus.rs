//! A reader of Prometheus' text format 0.0.4 that takes nothing that the format does not allow. In: text. Out: families with their samples.

use std::collections::{BTreeMap, BTreeSet};

/// One metric, as the text shows it.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// By the sample's name and labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

pub type Labels = BTreeMap<String, String>;

impl Family {
    /// The value of the only sample of this name that has these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &Labels| {
            let mut wanted = labels.iter();
            wanted.all(|(name, value)| found.get(*name).is_some_and(|it| it == value))
        };
        let mut found = self.samples.iter();
        let mut found = found
            .by_ref()
            .filter(|((it, with), _)| it == name && has(with));
        let (_, value) = found
            .next()
            .unwrap_or_else(|| panic!("no {name} {labels:?} in {self:#?}"));
        assert!(found.next().is_none(), "several {name} with {labels:?}");
        *value
    }
}

/// Reads `text`; panics where it is not by the format.
pub fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line ends"
    );
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a text after the name");
            check_name(name);
            assert!(!families.contains_key(name), "two groups of {name}");
            families.entry(name.to_string()).or_default().help = unescape(help, false);
            current = name.to_string();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind after the name");
            assert_eq!(name, current, "the kind follows the help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = families.get_mut(name).expect("named above");
            assert!(family.kind.is_empty(), "two kinds of {name}");
            family.kind = kind.to_string();
        } else {
            let (name, labels, value) = sample(line);
            let family = families
                .get_mut(&current)
                .expect("help and kind come first");
            let suffixes: &[&str] = match &*family.kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                "counter" | "gauge" => &[""],
                _ => panic!("no kind before {line}"),
            };
            let suffix = name.strip_prefix(&*current);
            assert!(suffix.is_some_and(|it| suffixes.contains(&it)), "{line}");
            if family.kind == "counter" {
                assert!(name.ends_with("_total") && value >= 0.0, "{line}");
            }
            let before = family.samples.insert((name, labels), value);
            assert!(before.is_none(), "twice: {line}");
        }
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty(), "{name} has no sample");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).expect("something after the name");
    let (name, mut rest) = line.split_at(end);
    check_name(name);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a value in quotes");
            let first = label.chars().next().expect("a label's name");
            assert!(first.is_ascii_alphabetic() || first == '_', "{line}");
            assert!(
                label
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || it == '_'),
                "{line}"
            );
            assert!(!label.starts_with("__"), "{line}");
            let close = closing_quote(after).expect("a closing quote");
            let value = unescape(&after[..close], true);
            let before = labels.insert(label.to_string(), value);
            assert!(before.is_none(), "a label twice: {line}");
            rest = &after[close + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("a closing brace");
    }
    let number = rest.strip_prefix(' ').expect("a space before the value");
    let value = number
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    (name.to_string(), labels, value)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, it)| {
        let closes = it == '"' && !escaped;
        escaped = it == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn unescape(text: &str, quotes: bool) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => plain.push(match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => panic!("\\{other:?} in {text:?}"),
            }),
            other => plain.push(other),
        }
    }
    plain
}

fn check_name(name: &str) {
    let first = name.chars().next().expect("a name");
    assert!(first.is_ascii_alphabetic() || first == '_', "{name}");
    let allowed = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    assert!(name.chars().all(allowed), "{name}");
}

/// Buckets grow up to the one without a bound, which holds as many as there are.
fn check_histogram(name: &str, family: &Family) {
    let without_bound = |labels: &Labels| -> Labels {
        let labels = labels.iter().filter(|(label, _)| *label != "le");
        labels
            .map(|(label, value)| (label.clone(), value.clone()))
            .collect()
    };
    let of = |suffix: &str| {
        let wanted = format!("{name}{suffix}");
        let samples = family
            .samples
            .iter()
            .filter(move |((it, _), _)| *it == wanted);
        samples.map(|((_, labels), value)| (labels.clone(), *value))
    };
    let all: BTreeSet<Labels> = of("_count").map(|(labels, _)| labels).collect();
    assert_eq!(all, of("_sum").map(|(labels, _)| labels).collect());
    assert_eq!(
        all,
        of("_bucket")
            .map(|(labels, _)| without_bound(&labels))
            .collect()
    );
    for series in all {
        let buckets = of("_bucket").filter(|(labels, _)| without_bound(labels) == series);
        let mut buckets: Vec<(f64, f64)> = buckets
            .map(|(labels, count)| (labels["le"].parse().expect("a bound"), count))
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{buckets:?}"
        );
        let (last, count) = buckets[buckets.len() - 1];
        assert_eq!(last, f64::INFINITY);
        let counted = of("_count").find(|(labels, _)| *labels == series);
        assert_eq!(Some(count), counted.map(|(_, value)| value));
    }
}

#[test]
fn the_reader_refuses_what_the_format_does_not_allow() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\"} 1\n";
    assert_eq!(read(good)["a_total"].value("a_total", &[("b", "c")]), 1.0);
    for bad in [
        "a_total 1\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total 1",
        "# HELP a_total x\n# TYPE a_total counter\na_total one\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=c} 1\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c} 1\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"\\x\"} 1\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 1\n",
        "# HELP a_total x\n# TYPE a_total counter\nb_total 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a.b x\n# TYPE a.b gauge\na.b 1\n",
        "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_sum 1\na_count 2\n",
        "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    ] {
        let read = std::panic::catch_unwind(|| read(bad));
        assert!(read.is_err(), "{bad}");
    }
}
