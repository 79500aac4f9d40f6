//! Which values a configuration takes. In: a value. Out: the number that it is, or Kafka's words for what is wrong with it.

/// Which values a configuration takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    Flag,
    /// A whole number of 32 bits between these, which are allowed.
    Int(i64, i64),
    /// A whole number of 64 bits that is at least this.
    Long(i64),
    /// A number from 0 to 1.
    Share,
    OneOf(&'static [&'static str]),
    /// Several of these, with commas between.
    AnyOf(&'static [&'static str]),
    /// `partition:node` pairs with commas between, or `*`.
    Replicas,
    /// A codec's level: -1, or between these.
    Level(i64, i64),
}

/// The largest number of 32 bits.
pub(super) const INT: i64 = i32::MAX as i64;

impl Values {
    /// The number that `value` is, or 0 where it is none; the error says what is wrong with it, of replicas without the
    /// configuration's name before it.
    pub(crate) fn check(self, value: &str) -> Result<i64, String> {
        let ok = |allowed: bool, problem: &dyn Fn() -> String| match allowed {
            true => Ok(0),
            false => Err(problem()),
        };
        match self {
            Values::Flag => ok(
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
                &|| "Expected value to be either true or false".to_owned(),
            ),
            Values::Int(least, most) => {
                let number = value.parse::<i32>();
                let number = number.map_err(|_| "Not a number of type INT".to_owned())?;
                between(i64::from(number), least, most)
            }
            Values::Long(least) => {
                let number = value.parse::<i64>();
                let number = number.map_err(|_| "Not a number of type LONG".to_owned())?;
                between(number, least, i64::MAX)
            }
            Values::Level(least, most) => match Values::Int(-1, most).check(value)? {
                level if level == -1 || level >= least => Ok(level),
                _ => Err(format!(
                    "Value must be between {least} and {most} or equal to -1"
                )),
            },
            Values::Share => {
                let share = value.parse::<f64>();
                let share = share.map_err(|_| "Not a number of type DOUBLE".to_owned())?;
                match share {
                    // What is no number is not between any.
                    share if share < 0.0 => Err("Value must be at least 0".to_owned()),
                    share => ok(share <= 1.0, &|| "Value must be no more than 1".to_owned()),
                }
            }
            Values::OneOf(allowed) => ok(allowed.contains(&value), &|| {
                format!("String must be one of: {}", allowed.join(", "))
            }),
            Values::AnyOf(allowed) => items(value)
                .try_for_each(|item| Values::OneOf(allowed).check(item).map(drop))
                .map(|()| 0),
            Values::Replicas => {
                let pair = |item: &str| {
                    let (partition, node) = item.split_once(':')?;
                    partition.parse::<u32>().ok().zip(node.parse::<u32>().ok())
                };
                let allowed = value == "*" || items(value).all(|item| pair(item).is_some());
                ok(allowed, &|| {
                    "must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned()
                })
            }
        }
    }

    /// What of a refused value is named: of a list that is checked item by item, the one that is wrong.
    pub(super) fn refused(self, value: &str) -> String {
        match self {
            Values::AnyOf(allowed) => items(value)
                .find(|item| !allowed.contains(item))
                .unwrap_or(value)
                .to_owned(),
            Values::Replicas => format!("[{}]", items(value).collect::<Vec<_>>().join(", ")),
            _ => value.to_owned(),
        }
    }

    /// Whether a value is a list.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Values::AnyOf(_) | Values::Replicas)
    }

    /// The type in Kafka's numbering.
    pub(crate) fn number(self) -> i8 {
        match self {
            Values::Flag => 1,
            Values::OneOf(_) => 2,
            Values::Int(..) | Values::Level(..) => 3,
            Values::Long(_) => 5,
            Values::Share => 6,
            Values::AnyOf(_) | Values::Replicas => 7,
        }
    }
}

fn between(number: i64, least: i64, most: i64) -> Result<i64, String> {
    match number {
        number if number < least => Err(format!("Value must be at least {least}")),
        number if number > most => Err(format!("Value must be no more than {most}")),
        number => Ok(number),
    }
}

/// What stands between the commas of a list.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}
