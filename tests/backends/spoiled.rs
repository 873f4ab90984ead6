//! What stands between a backend and the good server, and spoils answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What comes instead of the server's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// This status and this body.
    Says(u16, &'static str),
    /// The connection ends before, or in the middle.
    Cut(&'static str),
    /// A body that goes on for as long as it is read.
    Endless,
    /// Nothing, until the other side has had enough.
    Never,
}

/// Which answers are spoiled, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoil {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) answer: Answer,
    /// When the server gets the request, counted from the answer's end; never if `None`.
    pub(crate) reaches_it_after: Option<Duration>,
}

impl Spoil {
    /// The request does what it says, and its answer is spoiled.
    pub(crate) fn done(method: &'static str, path: &'static str, answer: Answer) -> Self {
        Self { method, path, answer, reaches_it_after: Some(Duration::ZERO) }
    }

    /// Nothing is done.
    pub(crate) fn undone(method: &'static str, path: &'static str, answer: Answer) -> Self {
        Self { reaches_it_after: None, ..Self::done(method, path, answer) }
    }
}

pub(crate) struct Spoiler {
    pub(crate) url: String,
    spoils: Arc<Mutex<Option<Spoil>>>,
}

impl Spoiler {
    /// In front of the server at this URL; it lives in threads of this process until that ends.
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spoils = Arc::new(Mutex::new(None));
        let (of_thread, to) = (Arc::clone(&spoils), server.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (spoil, to) = (*of_thread.lock().unwrap(), to.clone());
                // Whoever has given up closes its end, which is an error here and no matter.
                std::thread::spawn(move || drop(pass(stream.unwrap(), spoil, &to)));
            }
        });
        Self { url, spoils }
    }

    pub(crate) fn spoil(&self, spoil: impl Into<Option<Spoil>>) {
        *self.spoils.lock().unwrap() = spoil.into();
    }
}

fn pass(mut near: TcpStream, spoil: Option<Spoil>, to: &str) -> std::io::Result<()> {
    let request = whole(&near)?;
    let first = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let is_meant = |spoil: &Spoil| first.starts_with(&format!("{} {}", spoil.method, spoil.path));
    let Some(spoil) = spoil.filter(is_meant) else { return near.write_all(&asked(&request, to)?) };
    if spoil.reaches_it_after == Some(Duration::ZERO) {
        asked(&request, to)?;
    }
    let spoiled = answer(&mut near, spoil.answer);
    drop(near);
    if let Some(after) = spoil.reaches_it_after.filter(|after| !after.is_zero()) {
        std::thread::sleep(after);
        asked(&request, to)?;
    }
    spoiled
}

fn answer(near: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Says(status, body) => {
            write!(near, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Cut(part) => near.write_all(part.as_bytes()),
        Answer::Endless => {
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                near.write_all(&[b' '; 8192])?;
            }
        }
        Answer::Never => near.read(&mut [0]).map(drop),
    }
}

/// A request to its last byte.
fn whole(near: &TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut reader, mut request, mut length) = (BufReader::new(near), Vec::new(), 0);
    loop {
        let begin = request.len();
        let read = reader.read_until(b'\n', &mut request)?;
        let line = String::from_utf8_lossy(&request[begin..]).to_lowercase();
        length = line.strip_prefix("content-length: ").and_then(|text| text.trim().parse().ok()).unwrap_or(length);
        if read == 0 || line == "\r\n" {
            break;
        }
    }
    let begin = request.len();
    request.resize(begin + length, 0);
    reader.read_exact(&mut request[begin..])?;
    Ok(request)
}

fn asked(request: &[u8], to: &str) -> std::io::Result<Vec<u8>> {
    let (mut far, mut answer) = (TcpStream::connect(to)?, Vec::new());
    far.write_all(request)?;
    far.read_to_end(&mut answer)?;
    Ok(answer)
}
