//! What the steps found, for people and as JSON. In: an address that was checked. Out: a line for each step.

use std::io::{self, Write};
use std::time::Duration;

use pat_events::kafka::net::{Finding, Stage, Step};
use pat_events::kafka::{ApiKey, ApiVersions, ErrorKind};
use serde_json::{Value, json};

use super::Checked;
use super::certificate::Described;

/// What no client can do without.
const NEEDED: [ApiKey; 8] = [
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::METADATA,
    ApiKey::FIND_COORDINATOR,
    ApiKey::OFFSET_COMMIT,
    ApiKey::OFFSET_FETCH,
    ApiKey::INIT_PRODUCER_ID,
];
/// How far clocks may be apart, in milliseconds: tokens and certificates that are new are not good yet beyond that.
const MOST_APART_MS: u64 = 60_000;

/// One step, in words.
pub struct Line {
    pub step: &'static str,
    pub took: Duration,
    pub is_problem: bool,
    pub text: String,
    pub advice: Option<String>,
}

/// What came of the steps to one address.
pub fn lines(checked: &Checked) -> Vec<Line> {
    let is_advertised = checked.advertised_by.is_some();
    let mut lines = vec![resolved(checked, is_advertised)];
    let steps = checked.diagnosis.iter().flat_map(|it| &it.steps);
    lines.extend(steps.map(|step| line(step, is_advertised)));
    lines
}

fn resolved(checked: &Checked, is_advertised: bool) -> Line {
    let (text, advice) = match &checked.resolved {
        Ok(found) => {
            let found: Vec<_> = found.iter().map(|it| it.ip().to_string()).collect();
            (found.join(", "), None)
        }
        Err(error) => {
            let advice = match is_advertised {
                true => {
                    "the broker advertises a name that is not known here: set its advertised.listeners to one that is, or make it known \
                     to this machine's DNS"
                }
                false => "is it spelt right, and known to this machine's DNS?",
            };
            let text = format!("{} has no address: {error}", checked.address.host());
            (text, Some(advice.to_owned()))
        }
    };
    Line {
        step: "DNS",
        took: checked.resolving,
        is_problem: checked.resolved.is_err(),
        text,
        advice,
    }
}

fn line(step: &Step, is_advertised: bool) -> Line {
    let name = match step.stage {
        Stage::Connect => "TCP",
        Stage::Tls => "TLS",
        Stage::Versions => "ApiVersions",
        Stage::Sasl => "SASL",
        Stage::Metadata => "Metadata",
        Stage::Clock => "Clock",
        _ => "?",
    };
    let (text, advice) = match &step.result {
        Ok(found) => told(found),
        Err(error) => {
            let advice = match (step.stage, error.kind(), is_advertised) {
                (Stage::Connect, _, true) => Some(
                    "the broker advertises this address (advertised.listeners): it must be one that clients here can reach",
                ),
                (Stage::Connect, _, false) => {
                    Some("does a broker listen there, and does no firewall stand between?")
                }
                (Stage::Clock, ErrorKind::Timeout, _) => Some("the broker is slow: try again"),
                // The error says it.
                _ => None,
            };
            (error.to_string(), advice.map(str::to_owned))
        }
    };
    Line {
        step: name,
        took: step.took,
        is_problem: step.result.is_err() || advice.is_some(),
        text,
        advice,
    }
}

/// What was found, and what to do if that is a problem.
fn told(found: &Finding) -> (String, Option<String>) {
    match found {
        Finding::Connected => ("connected".to_owned(), None),
        Finding::Encrypted { version, cipher } => (format!("{version}, {cipher}"), None),
        Finding::Versions(apis) => versions(apis),
        Finding::Authenticated { mechanism, session } => {
            let session = match session {
                Some(session) => format!("for {} s, then again", session.as_secs()),
                None => "for as long as the connection lasts".to_owned(),
            };
            (format!("{mechanism}, {session}"), None)
        }
        Finding::Cluster {
            id,
            controller,
            brokers,
        } => {
            let id = id.as_deref().unwrap_or("without an id");
            let each: Vec<_> = brokers
                .iter()
                .map(|(broker, address)| {
                    let role = if Some(*broker) == *controller {
                        ", controller"
                    } else {
                        ""
                    };
                    format!("{broker} ({address}{role})")
                })
                .collect();
            let advice =
                "no broker is alive, or none has a listener of this name: see advertised.listeners";
            let advice = each.is_empty().then(|| advice.to_owned());
            (format!("cluster {id}, brokers {}", each.join(", ")), advice)
        }
        Finding::Clock(Some((ahead_ms, within_ms))) => {
            let text = match ahead_ms.unsigned_abs() <= *within_ms {
                true => format!("as the controller's, to {within_ms} ms"),
                false => {
                    let which = if *ahead_ms > 0 { "behind" } else { "ahead of" };
                    let apart = ahead_ms.unsigned_abs();
                    format!("this one is {apart} ms {which} the controller's, to {within_ms} ms")
                }
            };
            let is_far = ahead_ms.unsigned_abs() > MOST_APART_MS + within_ms;
            let advice =
                "set the clocks (NTP): certificates, tokens and the times of records go by them";
            (text, is_far.then(|| advice.to_owned()))
        }
        Finding::Clock(None) => {
            let text = "cannot be told: brokers say what time it is from Kafka 3.3 on, to clients that may describe the cluster";
            (text.to_owned(), None)
        }
        _ => ("done".to_owned(), None),
    }
}

fn versions(apis: &[ApiVersions]) -> (String, Option<String>) {
    let common = apis.iter().filter(|api| api.chosen().is_some()).count();
    let unknown = apis.iter().filter(|api| api.client.is_none()).count();
    let apart: Vec<_> = apis
        .iter()
        .filter(|api| api.client.is_some() && api.broker.is_some() && api.chosen().is_none())
        .map(|api| api.key.name())
        .collect();
    let missing: Vec<_> = apis
        .iter()
        .filter(|api| NEEDED.contains(&api.key) && api.chosen().is_none())
        .map(|api| api.key.name())
        .collect();
    let mut text = format!("{common} APIs in common");
    if unknown > 0 {
        text += &format!(", {unknown} that only the broker knows");
    }
    if !apart.is_empty() {
        text += &format!(", no version in common of {}", apart.join(", "));
    }
    let advice = (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!("a client cannot do without {missing}: is the broker older than Kafka 2.1, or much newer than this client?")
    });
    (text, advice)
}

fn certificates(checked: &Checked) -> impl Iterator<Item = Option<Described>> {
    let shown = checked.diagnosis.iter().flat_map(|it| &it.certificates);
    shown.map(|der| Described::of(der))
}

pub fn print(checked: &Checked, lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    match checked.advertised_by {
        Some(broker) => writeln!(out, "{}, which broker {broker} advertises", checked.address)?,
        None => writeln!(out, "{}", checked.address)?,
    }
    for line in lines {
        let mark = if line.is_problem { "FAILED" } else { "ok" };
        let took = line.took.as_millis();
        writeln!(
            out,
            "  {mark:<6}  {:<11}  {} ({took} ms)",
            line.step, line.text
        )?;
        if let Some(advice) = &line.advice {
            writeln!(out, "          {:<11}  {advice}", "")?;
        }
        if line.step == "TLS" {
            for (number, certificate) in certificates(checked).enumerate() {
                let text = certificate.map(|it| it.text());
                let text = text.as_deref().unwrap_or("cannot be read");
                writeln!(
                    out,
                    "          {:<11}  certificate {}: {text}",
                    "",
                    number + 1
                )?;
            }
        }
    }
    writeln!(out)
}

pub fn json(checked: &Checked, lines: &[Line]) -> Value {
    let steps: Vec<_> = lines
        .iter()
        .map(|line| {
            json!({
                "step": line.step,
                "ok": !line.is_problem,
                "ms": u64::try_from(line.took.as_millis()).unwrap_or(u64::MAX),
                "text": line.text,
                "advice": line.advice,
            })
        })
        .collect();
    let certificates: Vec<_> = certificates(checked)
        .map(|certificate| certificate.map(|it| it.json()))
        .collect();
    json!({
        "address": checked.address.to_string(),
        "advertised_by": checked.advertised_by,
        "ok": lines.iter().all(|line| !line.is_problem),
        "steps": steps,
        "certificates": certificates,
    })
}
