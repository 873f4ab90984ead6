//! Requests to a small real server with every fault that a server can have.

use super::*;
use crate::backoff::soon;
use crate::runtime::park_on;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

/// Answers one connection after the other by `answer`, which gets the request's text, until it was asked `times` times.
fn serve(host: &str, times: usize, answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().take(times) {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                text.push(byte[0]);
            }
            let text = String::from_utf8(text).unwrap();
            let length =
                text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            answer(&(text + &String::from_utf8(body).unwrap()), &mut stream);
        }
    });
    (url, thread)
}

/// On this thread.
fn send(request: &Request) -> std::io::Result<Response> {
    client::Client::new().send(request)
}

/// Sends one request to a server that answers it with this text, as it is.
fn asked(answer: &'static str, timeout: Duration) -> std::io::Result<Response> {
    let (url, server) = serve("127.0.0.1", 1, |_, stream| drop(stream.write_all(answer.as_bytes())));
    let response = send(&Request::new("GET", url, timeout));
    server.join().unwrap();
    response
}

#[test]
fn method_headers_and_body_arrive_and_the_answer_comes_back() {
    for host in ["127.0.0.1", "::1"] {
        let Ok(_) = TcpListener::bind((host, 0)) else { continue };
        let (url, server) = serve(host, 1, |text, stream| {
            let found = text.starts_with("PURGE /x?y=1 HTTP/1.1\r\n")
                && text.to_lowercase().contains("\r\nx-key: v\r\n")
                && text.to_lowercase().contains("\r\nconnection: close\r\n")
                && text.ends_with("{\"a\":1}");
            let status = if found { "200 OK" } else { "400 Bad Request" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        });
        // For ever is no longer than a clock counts.
        let request = Request::new("PURGE", url + "?y=1", Duration::MAX).header("X-Key", "v");
        let response = send(&request.json(&serde_json::json!({"a": 1}))).unwrap();
        assert_eq!(response, Response { status: 200, body: b"hi".to_vec() });
        server.join().unwrap();
    }
}

#[test]
fn localhost_is_both_addresses() {
    for host in ["127.0.0.1", "::1"] {
        let Ok(_) = TcpListener::bind((host, 0)) else { continue };
        let (url, server) = serve(host, 1, |text, stream| {
            let told = text.to_lowercase().contains("host: localhost:");
            write!(stream, "HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", if told { 204 } else { 400 }).unwrap();
        });
        let port = url.rsplit(':').next().unwrap().to_string();
        let response = send(&Request::new("DELETE", format!("http://localhost:{port}"), LONG)).unwrap();
        assert!(response.is_success(), "{response:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_status_is_no_error_and_a_redirect_is_not_followed() {
    for status in [302, 401, 404, 500] {
        let text = format!("HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 1\r\n\r\n!");
        let response = asked(Box::leak(text.into_boxed_str()), LONG).unwrap();
        assert_eq!((response.status, response.is_success()), (status, false));
    }
}

#[test]
fn every_broken_answer_is_an_error() {
    for answer in
        ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.1 200 OK\r\nConte"]
    {
        let error = asked(answer, LONG).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::TimedOut, "{answer:?}: {error}");
    }
}

#[test]
fn a_body_without_end_is_an_error() {
    let (url, server) = serve("127.0.0.1", 1, |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    let error = send(&Request::new("GET", url, LONG)).unwrap_err();
    assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_server_that_says_nothing_and_one_that_says_it_slowly_meet_the_deadline() {
    let silent = |_: &str, stream: &mut TcpStream| drop(stream.read(&mut [0]));
    let slow = |_: &str, stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            crate::backoff::pause(Duration::from_millis(5));
        }
    };
    let servers = [serve("127.0.0.1", 1, silent), serve("127.0.0.1", 1, slow)];
    for (url, server) in servers {
        let started = Instant::now();
        let error = send(&Request::new("GET", url, Duration::from_millis(200))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(started.elapsed() >= Duration::from_millis(150));
        server.join().unwrap();
    }
}

#[test]
fn nobody_there_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    // A child that another test starts at this moment has it, too, until its exec.
    soon("a refusal", || match send(&Request::new("GET", url.clone(), LONG)).unwrap_err().kind() {
        ErrorKind::ConnectionRefused => true,
        kind => {
            assert_eq!(kind, ErrorKind::ConnectionReset);
            false
        }
    });
}

#[test]
fn no_text_about_a_request_holds_its_secret() {
    let request = Request::new("GET", "http://127.0.0.1:1/", LONG).header("Authorization", "Bearer hush\r\n");
    let error = send(&request).unwrap_err();
    assert!(!format!("{request:?} {error} {error:?}").contains("hush"), "{request:?} {error:?}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Awaited on the one thread that everything else runs on, too.
#[test]
fn aside_it_blocks_nobody_and_a_request_that_is_given_up_ends() {
    let (tell, is_asked) = std::sync::mpsc::channel();
    let (url, server) = serve("127.0.0.1", 2, move |_, stream| {
        tell.send(()).unwrap();
        // Ends when the client has closed its end, long before the deadline.
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    });
    for _ in 0..2 {
        let mut waiting = Box::pin(send_aside(Request::new("GET", url.clone(), Duration::from_secs(500))));
        park_on(async {
            let pump = crate::process::pump::Pump::get().unwrap();
            // Given up before, it would not be sent.
            while is_asked.try_recv().is_err() {
                assert!(pump.within(Duration::from_millis(5), &mut waiting).await.is_none());
            }
        });
        drop(waiting);
    }
    server.join().unwrap();
}

#[test]
fn by_a_connection_that_is_refused_nothing_is_sent() {
    let (url, server) = serve("127.0.0.1", 1, |text, _| assert_eq!(text, ""));
    let request = Request::new("DELETE", url, LONG);
    let refused = send_checked(&request, &|_| Err("it is a stranger".into())).unwrap_err();
    assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::PermissionDenied, "it is a stranger".into()));
    server.join().unwrap();
}

/// What goes before the answer is passed over, what a header must not hold is not sent, and silence meets the deadline.
#[test]
fn a_request_by_a_connection_that_was_looked_at_is_answered_as_any_other() {
    let request = |url: &str, timeout| Request::new("PURGE", url, timeout).header("X-Key", "v");
    let (url, server) = serve("127.0.0.1", 1, |text, stream| {
        assert!(text.starts_with("PURGE /x HTTP/1.1\r\nhost: 127.0.0.1:"), "{text}");
        assert!(text.contains("\r\nx-key: v\r\n") && text.contains("\r\nconnection: close\r\n"), "{text}");
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nhi and what follows";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let response = send_checked(&request(&url, Duration::MAX), &|_| Ok(())).unwrap();
    assert!(response.status == 500 && response.body.starts_with(b"hi"), "{response:?}");
    server.join().unwrap();
    let broken = Request::new("GET", &url, LONG).header("X-Key", "hush\r\nX: y");
    let error = send_checked(&broken, &|_| Ok(())).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && !error.to_string().contains("hush"), "{error}");
    let (url, server) = serve("127.0.0.1", 1, |_, stream| drop(stream.read(&mut [0])));
    let error = send_checked(&request(&url, Duration::from_millis(50)), &|_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    server.join().unwrap();
    let (url, server) = serve("127.0.0.1", 1, |_, _| {});
    let error = send_checked(&request(&url, LONG), &|_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("without an answer"), "{error}");
    server.join().unwrap();
}
