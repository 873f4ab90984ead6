//! A request by a connection that is looked at before anything is sent. ureq has no place for such a look, so that this is
//! HTTP by hand: no body is sent, and of an answer the status is what counts.

use crate::http::address::Address;
use crate::http::message::{Check, Request, Response};
use crate::process::pump::after;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// No server that means well says more before its body.
const LONGEST_HEAD: usize = 64 << 10;
/// A person reads the beginning of a body that says what has failed.
const READ_BODY: usize = 4 << 10;

/// Sends it to the first place of the address whose connection `check` lets pass.
///
/// # Errors
///
/// If there is no such place, or no answer in time, or none that is HTTP. None shows a header.
pub(crate) fn send(address: &Address, request: &Request, check: Check<'_>) -> io::Result<Response> {
    let until = after(request.timeout);
    let text = text_of(address, request)?;
    let mut failed = None;
    for place in &address.places {
        let connected = TcpStream::connect_timeout(place, left(until)?).and_then(|stream| {
            check(&stream).map_err(|why| io::Error::new(ErrorKind::PermissionDenied, why))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return exchange(stream, &text, until).map_err(in_words),
            // What somebody says who is there is told before that nobody is.
            Err(cause) if failed.is_none() || cause.kind() == ErrorKind::PermissionDenied => failed = Some(cause),
            Err(_) => {}
        }
    }
    Err(failed.map_or_else(|| ErrorKind::ConnectionRefused.into(), in_words))
}

fn in_words(cause: io::Error) -> io::Error {
    match cause.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no full answer in time"),
        _ => cause,
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Written by parts that the client's own types have found to be sendable: a secret from a variable may end a line.
fn text_of(address: &Address, request: &Request) -> io::Result<Vec<u8>> {
    let unsendable = |_| io::Error::new(ErrorKind::InvalidInput, "a method, header or URL that HTTP cannot send");
    let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(&address.path);
    builder = builder.header("Host", &address.authority).header("Connection", "close");
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let built = builder.body(()).map_err(unsendable)?;
    let mut text = format!("{} {} HTTP/1.1\r\n", built.method(), built.uri()).into_bytes();
    for (name, value) in built.headers() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    // A server may wait for a body with every method that can have one.
    text.extend(b"Content-Length: 0\r\n\r\n");
    Ok(text)
}

fn exchange(mut stream: TcpStream, text: &[u8], until: Instant) -> io::Result<Response> {
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(text)?;
    let mut read = Vec::new();
    let (status, head) = loop {
        match answer_in(&read)? {
            Some(found) => break found,
            None if read.len() > LONGEST_HEAD => return Err(malformed("begins with more than a head's length")),
            None => {}
        }
        if read_more(&mut stream, &mut read, until)? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed without an answer"));
        }
    };
    let wanted = length_in(&read[..head]).unwrap_or(READ_BODY).min(READ_BODY);
    // What is not there, or late, costs a sentence.
    while read.len() - head < wanted && read_more(&mut stream, &mut read, until).is_ok_and(|got| got > 0) {}
    Ok(Response { status, body: read[head..].to_vec() })
}

fn read_more(stream: &mut TcpStream, read: &mut Vec<u8>, until: Instant) -> io::Result<usize> {
    let mut part = [0; 4 << 10];
    stream.set_read_timeout(Some(left(until)?))?;
    let got = match stream.read(&mut part) {
        Err(cause) if cause.kind() == ErrorKind::Interrupted => return read_more(stream, read, until),
        got => got?,
    };
    read.extend_from_slice(&part[..got]);
    Ok(got)
}

/// The status, and where the body begins; `None` as long as the head is not whole. What goes before the answer, 1xx, is passed
/// over.
fn answer_in(read: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut from = 0;
    loop {
        let Some(length) = memchr::memmem::find(&read[from..], b"\r\n\r\n") else { return Ok(None) };
        let head = &read[from..from + length];
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = std::str::from_utf8(line).ok().and_then(|line| {
            let (version, rest) = line.split_once(' ')?;
            let digits = rest.split(' ').next()?;
            (version.starts_with("HTTP/1.") && digits.len() == 3).then_some(digits.parse::<u16>().ok()?)
        });
        let status = status.filter(|status| *status >= 100).ok_or_else(|| malformed("is no HTTP"))?;
        from += length + 4;
        if status >= 200 {
            return Ok(Some((status, from)));
        }
    }
}

fn length_in(head: &[u8]) -> Option<usize> {
    String::from_utf8_lossy(head).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the answer {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_is_read_once_its_head_is_whole() {
        assert_eq!(answer_in(b"HTTP/1.1 204 No Content\r\nA: b\r\n").unwrap(), None);
        assert_eq!(answer_in(b"HTTP/1.1 204\r\n\r\n").unwrap(), Some((204, 16)));
        let interim = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n";
        assert_eq!(answer_in(interim).unwrap(), None);
        let both = [&interim[..], b"HTTP/1.0 404 Not Found\r\n\r\nx"].concat();
        assert_eq!(answer_in(&both).unwrap(), Some((404, both.len() - 1)));
        for text in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 2xx X\r\n\r\n", "\r\n\r\n"] {
            assert_eq!(answer_in(text.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData, "{text:?}");
        }
        assert_eq!(length_in(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\n\r\n"), Some(12));
    }

    proptest! {
        #[test]
        fn no_answer_panics(text in "(HTTP/1.1 |[0-9]{3}|\r\n|\r\n\r\n|.|[^a]){0,20}") {
            let _ = (answer_in(text.as_bytes()), length_in(text.as_bytes()));
        }
    }
}
