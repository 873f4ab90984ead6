//! Waiting until a server is ready, has died, or has had its time.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::http::{Request, send_aside};
use crate::process::handle::reader;
use crate::process::listening::{self, tree_of};
use crate::process::pump::Pump;
use crate::server::inner::Inner;
use crate::server::socket::Socket;
use crate::server::spec::Condition;
use crate::sys::{self, Listening};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The longest pause between two looks: what is looked at costs some microseconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// How long one request may take; a server that is busy with its start may drop one.
const LONGEST_REQUEST: Duration = Duration::from_secs(2);

/// Why a server is not ready.
pub(crate) enum NotReady {
    /// It has ended.
    Died,
    /// With what was waited for, in words.
    Late(String, Duration),
    Failed(Error),
}

impl From<Error> for NotReady {
    fn from(cause: Error) -> Self {
        Self::Failed(cause)
    }
}

/// Waits for one condition after the other.
pub(crate) async fn wait(inner: &Inner, limit: Duration) -> Result<(), NotReady> {
    let pump = Pump::get()?;
    let deadline = crate::process::pump::after(limit);
    for condition in inner.spec.conditions() {
        let came = until_dead(inner, comes_true(inner, &condition, deadline));
        match pump.until(deadline, came).await {
            None => return Err(NotReady::Late(in_words(inner, &condition), limit)),
            Some(None) => return Err(NotReady::Died),
            Some(Some(came)) => came?,
        }
    }
    if inner.handle.is_alive() {
        // By another condition it may be ready without a look at its port.
        if let (Some(_), None) = (inner.port, inner.address.get()) {
            its_place(inner)?;
        }
        return Ok(());
    }
    // Until it is reaped nobody is told how.
    inner.handle.wait_gone().await?;
    Err(NotReady::Died)
}

/// The future's output, or `None` if the server ends before.
pub(crate) async fn until_dead<F: Future>(inner: &Inner, future: F) -> Option<F::Output> {
    let (mut future, mut gone) = (pin!(future), pin!(inner.handle.wait_gone()));
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if gone.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // What it printed last may be what was waited for.
        inner.log.catch_up();
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

async fn comes_true(inner: &Inner, condition: &Condition, deadline: Instant) -> Result<()> {
    match condition {
        Condition::Line(text) => inner.log.wait_for(text).await,
        Condition::Tcp => listens(inner).await?,
        Condition::Socket(path) => {
            let mut socket = Socket::new(inner, path);
            for time in Backoff::new() {
                if socket.is_ready()? {
                    break;
                }
                // Whose a socket is takes longer to find out than whether there is one.
                let time = if socket.stranger().is_some() { time } else { time.min(LONGEST_PAUSE) };
                Pump::get()?.sleep(time).await;
            }
        }
        Condition::Http(path) => answers_http(inner, path, deadline).await?,
    }
    Ok(())
}

async fn until(mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let pump = Pump::get()?;
    for time in Backoff::new() {
        if holds()? {
            break;
        }
        pump.sleep(time.min(LONGEST_PAUSE)).await;
    }
    Ok(())
}

/// Whoever is found there that is not the server is not connected to again and again: it need not take what waits for it, and
/// the place in its queue is its own clients'.
async fn listens(inner: &Inner) -> Result<()> {
    let pump = Pump::get()?;
    until(|| Ok(answers(inner, PLACES[0])? || answers(inner, PLACES[1])?)).await?;
    for time in Backoff::new() {
        if let Some(place) = its_place(inner)?
            && answers(inner, place)?
        {
            break;
        }
        pump.sleep(time).await;
    }
    Ok(())
}

/// Where a server is looked for: the second only if it is not at the first.
const PLACES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn answers(inner: &Inner, place: IpAddr) -> Result<bool> {
    let port = inner.port.unwrap_or_default();
    let cannot = |cause| Error::os(format!("try the server's port {port}"), "raise `ulimit -n`", cause);
    sys::answers_tcp(SocketAddr::new(place, port)).map_err(cannot)
}

/// The address of the loopback at which it is the server that listens, and nobody who was faster. From then on it is what the
/// server's URL names.
fn its_place(inner: &Inner) -> Result<Option<IpAddr>> {
    let mut reader = reader()?;
    let cannot = |cause| Error::os("list the sockets that listen", "let this user read /proc", cause);
    let all = listening::all(&mut reader).map_err(cannot)?;
    let at_port: Vec<Listening> = all.into_iter().filter(|one| Some(one.port) == inner.port).collect();
    let mut place_of = |pids: &[u32]| {
        let own: Vec<u64> = pids.iter().flat_map(|pid| listening::sockets(&mut reader, *pid)).collect();
        PLACES.into_iter().find(|place| {
            let mut there = at_port.iter().filter(|one| listening::reaches(one.address, *place)).peekable();
            there.peek().is_some() && there.all(|one| own.contains(&one.owner.inode))
        })
    };
    // Or a process that it has started and lost.
    let place = place_of(&tree_of(inner.handle.pid())).or_else(|| place_of(&inner.marked()));
    if let Some(place) = place {
        let _ = inner.address.set(place);
    }
    Ok(place)
}

/// A status from 200 to 399, of the server's own.
async fn answers_http(inner: &Inner, path: &str, deadline: Instant) -> Result<()> {
    let pump = Pump::get()?;
    // No request is sent to somebody else.
    listens(inner).await?;
    let url = format!("{}{path}", inner.url().unwrap_or_default());
    for time in Backoff::new() {
        let limit = deadline.saturating_duration_since(Instant::now()).min(LONGEST_REQUEST);
        match send_aside(Request::new("GET", &url, limit)).await {
            Ok(answer) if (200..400).contains(&answer.status) => break,
            Err(cause) if matches!(cause.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
                return Err(Error::unsupported(format!("{} cannot be asked by HTTP: {cause}", inner.name())));
            }
            _ => pump.sleep(time).await,
        }
        // It may have given its port back meanwhile, and somebody may have that.
        for time in Backoff::new() {
            if its_place(inner)?.is_some() {
                break;
            }
            pump.sleep(time).await;
        }
    }
    Ok(())
}

/// What was waited for.
fn in_words(inner: &Inner, condition: &Condition) -> String {
    let port = inner.port.unwrap_or_default();
    match condition {
        Condition::Tcp => match PLACES.into_iter().any(|place| answers(inner, place).unwrap_or(false)) {
            true => format!("that it listens at its port {port}, where another process does"),
            false => format!("that it accepts connections at its port {port}, on 127.0.0.1 or [::1]"),
        },
        Condition::Http(path) => {
            let url = inner.url().unwrap_or_default();
            format!("that `GET {url}{path}` answers with a status from 200 to 399")
        }
        Condition::Line(text) => format!("that it prints {text:?}"),
        Condition::Socket(path) => {
            let mut socket = Socket::new(inner, path);
            let stranger = match (socket.is_ready(), socket.stranger()) {
                (Ok(false), Some(pid)) => format!(", where another process does, pid {pid}"),
                _ => String::new(),
            };
            format!("that it accepts connections at its socket `{}`{stranger}", socket.path().display())
        }
    }
}

/// What it does instead: for one that lives.
pub(crate) fn instead(inner: &Inner) -> String {
    let Ok(mut reader) = reader() else { return String::new() };
    let mut pids = tree_of(inner.handle.pid());
    pids.extend(inner.marked());
    let found = listening::of(&mut reader, &pids).unwrap_or_default();
    let mut ports: Vec<u16> = found.iter().map(|one| one.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let others: Vec<String> = ports.iter().filter(|port| Some(**port) != inner.port).map(u16::to_string).collect();
    match (&others[..], ports.is_empty()) {
        (_, true) => "it is alive, and listens at no port".into(),
        ([], false) => "it is alive, and listens at its port".into(),
        (others, false) => format!("it is alive, and listens at {} instead", others.join(", ")),
    }
}
