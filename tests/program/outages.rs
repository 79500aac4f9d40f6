//! Brokers that go away.

use std::io::{BufRead, BufReader};

use crate::commands::start;
use crate::{end_of, place};

#[test]
fn reading_goes_on_when_brokers_are_back_and_says_that_it_waits() {
    let place = place();
    place.topic("t", 1, "1\n");
    let brokers = place.broker.bootstrap_servers();
    // Told by the time that requests have.
    let patience = "request.timeout.ms=1000";
    let mut reading = start(&[
        "consume", "-F", "none", "-b", &brokers, "-t", "t", "-c", "2", "-X", patience,
    ]);
    let mut output = BufReader::new(reading.stdout.take().expect("piped")).lines();
    let errors = BufReader::new(reading.stderr.take().expect("piped")).lines();
    assert_eq!(output.next().expect("a line").expect("text"), "1");
    let node = place.broker.node_ids()[0];
    place.runtime.block_on(place.broker.stop_node(node));
    let mut errors = errors.map(|line| line.expect("text"));
    let waits = errors.find(|line| line.starts_with("waiting: "));
    assert!(waits.is_some(), "it said nothing of waiting");
    place
        .runtime
        .block_on(place.broker.start_node(node))
        .expect("its port is free");
    place.run_with("produce", &["-t", "t", "-p", "0"], b"2\n");
    assert_eq!(output.next().expect("a line").expect("text"), "2");
    assert!(errors.any(|line| line == "reading goes on"));
    assert!(reading.wait().expect("it ends").success());
}

#[test]
fn what_is_waited_for_is_said_after_a_second_and_brokers_that_are_not_there_are_an_error() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = nobody.local_addr().expect("bound").to_string();
    // Takes connections, and says nothing.
    let patience = [
        "-X",
        "request.timeout.ms=2500",
        "-X",
        "socket.connection.setup.timeout.ms=2500",
    ];
    let ended = end_of(
        &[
            &["topics", "list", "-F", "none", "-b", &address],
            &patience[..],
        ]
        .concat(),
        b"",
    );
    assert_eq!(ended.status, Some(1));
    let waiting = format!("waiting for brokers: {address}: takes connections, no answer yet");
    assert!(ended.errors.contains(&waiting), "{ended:?}");
    assert!(ended.errors.contains("error: "), "{ended:?}");
}
