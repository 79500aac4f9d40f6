//! A registry of schemas that has what it is told, and answers two questions.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::json;

/// A schema of Avro: its id, its subject, its text, and what it refers to, by name and subject.
pub type Registered = (
    u32,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Serves these schemas of Avro (id, subject, text) as long as the tests run. Returns its URL.
pub fn serve(schemas: &[(u32, &'static str, &'static str)]) -> String {
    let schemas: Vec<Registered> = (schemas.iter())
        .map(|(id, subject, text)| (*id, *subject, *text, &[][..]))
        .collect();
    serve_referring(&schemas)
}

/// The same, of schemas that refer to others.
pub fn serve_referring(schemas: &[Registered]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let schemas = schemas.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            for line in lines.by_ref() {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let path = first.split([' ', '?']).nth(1).unwrap_or_default();
            let found = schemas.iter().find(|(id, subject, ..)| {
                path == format!("/schemas/ids/{id}")
                    || path == format!("/subjects/{subject}/versions/latest")
                    || path == format!("/subjects/{subject}/versions/1")
            });
            let (status, body) = match found {
                Some((id, subject, text, references)) => {
                    let references = references
                        .iter()
                        .map(|(name, subject)| json!({"name": name, "subject": subject, "version": 1}))
                        .collect::<Vec<_>>();
                    (
                        "200 OK",
                        json!({"id": id, "subject": subject, "version": 1, "schema": text, "references": references}),
                    )
                }
                None => (
                    "404 Not Found",
                    json!({"error_code": 40403, "message": "Schema not found"}),
                ),
            };
            let body = body.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}
