//! How values are described: where each comes from, and what would have set it. In: a configuration, and who has said what. Out: its part of the answer.

use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};

use super::Config;

/// Where a value comes from, in Kafka's numbering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
    Group = 8,
}

/// A value that the broker was given, which stands for one of a topic or a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// The name that it has there.
    pub(super) of: &'static str,
    /// The broker's name of it.
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A configuration of a topic or a group, whose own value it may have, and what the broker was given for it, if anything.
pub(super) fn described(
    config: &Config,
    (own, source): (Option<&String>, Source),
    given: Option<&Given>,
) -> DescribeConfigsResourceResult {
    let own = own.map(|value| synonym(config.name, value, source));
    let given = given.map(|it| synonym(it.name, &it.value, Source::StaticBroker));
    let default = (config.of_broker).map(|name| synonym(name, config.default, Source::Default));
    result(config, own.into_iter().chain(given).chain(default))
}

/// A configuration with what would have set it, the strongest first; its default where nothing would.
pub(super) fn result(
    config: &Config,
    synonyms: impl IntoIterator<Item = DescribeConfigsSynonym>,
) -> DescribeConfigsResourceResult {
    let synonyms: Vec<_> = synonyms.into_iter().collect();
    let first = synonyms.first();
    let value = first.and_then(|it| it.value.clone());
    DescribeConfigsResourceResult {
        name: config.name.to_owned(),
        value: value.or_else(|| Some(config.default.to_owned())),
        config_source: first.map_or(Source::Default as i8, |it| it.source),
        config_type: config.values.number(),
        documentation: Some(config.about.to_owned()),
        synonyms,
        ..Default::default()
    }
}

pub(super) fn synonym(name: &str, value: &str, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source: source as i8,
        ..Default::default()
    }
}
