//! The transcript that the embedded broker is held to (`tests/broker/parity`), taken again from the Kafka that runs here: what was recorded
//! once must still be what it answers. With `PARITY_WRITE=1` it is written anew instead.

use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use libtest_mimic::Trial;

use crate::fleet::{Fleet, block_on};
use crate::parity;
use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![fleet.on_one_alone("the_recorded_transcript_holds", recorded_transcript_holds)]
}

fn recorded_transcript_holds(_: &Jdk, kafka: &Kafka) {
    block_on(async {
        let run = format!("-{}", std::process::id());
        let transcript = parity::transcript(kafka.bootstrap(), run).await;
        if env::var_os("PARITY_WRITE").is_none() {
            return parity::assert_as_recorded(&transcript);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let file = root.join("tests/broker/parity/kafka-4.4.txt");
        fs::write(file, transcript).expect("written");
    });
}
