//! Asks a broker over its own protocol which brokers it knows. In: an address. Out: their ids, or why not.
//!
//! Written by hand against Metadata v1, in std alone: the harness must not depend on the client that it tests.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const METADATA: i16 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

/// The ids of the brokers in the answer, sorted, and the controller's id. A fenced broker is not among them.
pub fn brokers(address: &str) -> io::Result<(Vec<i32>, i32)> {
    let answer = metadata_of_no_topics(address)?;
    let mut at = answer.as_slice();
    let _correlation_id = int32(&mut at)?;
    let mut ids = Vec::new();
    for _ in 0..int32(&mut at)? {
        ids.push(int32(&mut at)?);
        string(&mut at)?; // host
        int32(&mut at)?; // port
        string(&mut at)?; // rack
    }
    ids.sort_unstable();
    Ok((ids, int32(&mut at)?))
}

fn metadata_of_no_topics(address: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut request = Vec::new();
    request.extend(METADATA.to_be_bytes());
    request.extend(1i16.to_be_bytes()); // version
    request.extend(1i32.to_be_bytes()); // correlation id
    request.extend((-1i16).to_be_bytes()); // no client id
    request.extend(0i32.to_be_bytes()); // no topics
    stream.write_all(&(request.len() as u32).to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream
        .take(u64::from(u32::from_be_bytes(length)))
        .read_to_end(&mut answer)?;
    Ok(answer)
}

fn take<'a>(at: &mut &'a [u8], n: usize) -> io::Result<&'a [u8]> {
    let (head, tail) = at.split_at_checked(n).ok_or(io::ErrorKind::UnexpectedEof)?;
    *at = tail;
    Ok(head)
}

fn int32(at: &mut &[u8]) -> io::Result<i32> {
    Ok(i32::from_be_bytes(
        take(at, 4)?.try_into().expect("four bytes"),
    ))
}

fn string(at: &mut &[u8]) -> io::Result<()> {
    let length = i16::from_be_bytes(take(at, 2)?.try_into().expect("two bytes"));
    take(at, usize::try_from(length).unwrap_or(0)).map(drop)
}
