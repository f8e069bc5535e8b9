//! axum's events with a broadcast channel of tokio behind them, on one thread: axum-server PORT. It answers what the
//! Python apps answer: GET /events, and the harness's /status, /paced and /burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

const CAPACITY: usize = 256; // events, as many as the Broadcasters keep

/// The JSON text is made once for all, the event by axum for each.
struct Hub {
    sender: broadcast::Sender<Arc<str>>,
    next: AtomicU32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Members {
    Item {
        action: &'static str,
        price: f64,
        item: &'static str,
        by: &'static str,
    },
    Text {
        text: String,
    },
}

#[derive(Serialize)]
struct Payload {
    seq: u32,
    ts: u64,
    #[serde(flatten)]
    members: Members,
}

impl Hub {
    /// The usual item, or `size` characters of text.
    fn send(&self, ts: u64, size: usize) {
        let members = if size > 0 {
            Members::Text {
                text: "x".repeat(size),
            }
        } else {
            Members::Item {
                action: "created",
                price: 1249.25,
                item: "espresso machine 2",
                by: "anna.meyer",
            }
        };
        let payload = Payload {
            seq: self.next.fetch_add(1, Ordering::Relaxed),
            ts,
            members,
        };
        let text = serde_json::to_string(&payload).unwrap();
        let _ = self.sender.send(text.into()); // nobody need listen
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

type Shared = State<Arc<Hub>>;

async fn events(hub: Shared) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let texts = BroadcastStream::new(hub.sender.subscribe());
    // A client that has fallen behind by more than the channel holds goes on behind the gap.
    Sse::new(texts.filter_map(|text| {
        text.ok()
            .map(|text| Ok(Event::default().event("update").data(&*text)))
    }))
}

async fn status(hub: Shared) -> String {
    let clients = hub.sender.receiver_count();
    format!(r#"{{"pid": {}, "clients": {clients}}}"#, std::process::id())
}

#[derive(Deserialize)]
struct Paced {
    events: u32,
    rate: u32,
    size: usize,
}

async fn paced(hub: Shared, Query(asked): Query<Paced>) -> &'static str {
    let start = Instant::now();
    for index in 0..asked.events {
        sleep_until(start + Duration::from_secs(1) * index / asked.rate).await;
        hub.send(now(), asked.size);
    }
    "{}"
}

#[derive(Deserialize)]
struct Burst {
    events: u32,
    yields: u8,
}

async fn burst(hub: Shared, Query(asked): Query<Burst>) -> &'static str {
    let start = now();
    for _ in 0..asked.events {
        hub.send(start, 0);
        if asked.yields > 0 {
            tokio::task::yield_now().await;
        }
    }
    "{}"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a port");
    let hub = Arc::new(Hub {
        sender: broadcast::Sender::new(CAPACITY),
        next: AtomicU32::new(100_000),
    });
    let app = Router::new()
        .route("/events", get(events))
        .route("/status", get(status))
        .route("/paced", post(paced))
        .route("/burst", post(burst))
        .with_state(hub);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket
        .listen(4096)?
        .tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, app).await
}
