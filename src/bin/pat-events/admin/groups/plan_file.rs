//! Offsets of groups as lines of a file, as Kafka's own script writes and reads them. In: lines `topic,partition,offset`, or with the group before. Out:
//! the offsets of each group; and back.

use std::collections::BTreeMap;

use pat_events::kafka::TopicPartition;

/// The offsets of each group.
pub type Plan = BTreeMap<String, BTreeMap<TopicPartition, i64>>;

/// Reads a file; lines without a group are about the only one of these.
pub fn read(text: &str, groups: &[String]) -> Result<Plan, String> {
    let mut plan = Plan::new();
    for (number, line) in (1u32..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (group, partition, offset) =
            read_line(line, groups).map_err(|error| format!("line {number}: {error}"))?;
        let offsets = plan.entry(group).or_default();
        if offsets.insert(partition, offset).is_some() {
            return Err(format!("line {number}: its partition was there before"));
        }
    }
    Ok(plan)
}

fn read_line(line: &str, groups: &[String]) -> Result<(String, TopicPartition, i64), String> {
    // Groups may have commas in their names, topics have none.
    let mut parts = line
        .rsplitn(4, ',')
        .map(|part| part.trim().trim_matches('"'));
    let offset = parts.next().and_then(|it| it.parse::<i64>().ok());
    let partition = parts.next().and_then(|it| it.parse::<i32>().ok());
    let (Some(offset), Some(partition), Some(topic)) = (offset, partition, parts.next()) else {
        return Err(format!("{line:?} is not topic,partition,offset"));
    };
    let group = match (parts.next(), groups) {
        (Some(group), groups) if groups.iter().any(|it| it == group) => group,
        (Some(group), _) => return Err(format!("the group {group:?} was not asked for")),
        (None, [group]) => group,
        (None, _) => {
            return Err(
                "of several groups each line names its own: group,topic,partition,offset"
                    .to_owned(),
            );
        }
    };
    if offset < 0 || partition < 0 {
        return Err("partitions and offsets are not negative".to_owned());
    }
    Ok((
        group.to_owned(),
        TopicPartition::new(topic, partition),
        offset,
    ))
}

/// The lines of a plan; with the group in each where there are several.
pub fn write(plan: &Plan) -> String {
    let mut text = String::new();
    for (group, offsets) in plan {
        for (at, offset) in offsets {
            if plan.len() > 1 {
                text.push_str(group);
                text.push(',');
            }
            text.push_str(&format!("{},{},{offset}\n", at.topic, at.partition));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let offsets = |offset| {
            BTreeMap::from([
                (TopicPartition::new("t", 0), offset),
                (TopicPartition::new("t", 1), 7),
            ])
        };
        for names in [&["g"][..], &["a,b", "g"]] {
            let plan: Plan = (5..)
                .zip(names)
                .map(|(at, name)| (name.to_string(), offsets(at)))
                .collect();
            assert_eq!(read(&write(&plan), &groups(names)), Ok(plan));
        }
        assert_eq!(
            write(&Plan::from([("g".to_owned(), offsets(5))])),
            "t,0,5\nt,1,7\n"
        );
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number() {
        let one = groups(&["g"]);
        for (text, word) in [
            ("t,0,1\nt,x,1", "line 2: "),
            ("t,0,1\n\nt,0,2", "line 3: its partition"),
            ("other,t,0,1", "\"other\" was not asked for"),
            ("t,0,-1", "not negative"),
            ("t", "is not topic,partition,offset"),
        ] {
            let error = read(text, &one).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
        assert!(read("t,0,1", &groups(&["a", "b"])).is_err());
    }
}
