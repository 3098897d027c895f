//! Uploading and following over a line that breaks all the time.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use engagement_attributes::{Client, Start, v1::Event};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use crate::servers::{Server, events, id_of, in_time, stored_ids};

/// Stands between client and server, and breaks each connection after so many bytes in one direction.
struct BrokenLine {
    address: String,
    accepting: JoinHandle<()>,
}

impl BrokenLine {
    async fn to(server: &str, bytes_up: u64, bytes_down: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, bytes_up, bytes_down));
            }
        });
        Self { address, accepting }
    }

    fn client(&self) -> Client {
        Client::builder(&self.address, "tests").build().unwrap()
    }
}

impl Drop for BrokenLine {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, bytes_up: u64, bytes_down: u64) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = carry_some(from_client, to_server, bytes_up) => {}
        () = carry_some(from_server, to_client, bytes_down) => {}
    }
}

async fn carry_some(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, bytes: u64) {
    let _ = copy(&mut from.take(bytes), &mut to).await;
}

/// Stands between client and server. The first connection can be made to swallow what the server says, and be
/// cut; the others are whole.
pub struct MutedLine {
    address: String,
    is_mute: Arc<AtomicBool>,
    is_cut: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl MutedLine {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        let (is_mute, is_cut) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let (mute, cut) = (Arc::clone(&is_mute), Arc::clone(&is_cut));
        let accepting = tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let first = TcpStream::connect(&server).await.unwrap();
            tokio::select! {
                () = carry_until_mute(client, first, &mute) => {}
                () = cut.notified() => {}
            }
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, u64::MAX, u64::MAX));
            }
        });
        Self { address, is_mute, is_cut, accepting }
    }

    pub fn client(&self) -> Client {
        Client::builder(&self.address, "tests").build().unwrap()
    }

    pub fn mute(&self) {
        self.is_mute.store(true, Ordering::Relaxed);
    }

    pub fn cut(&self) {
        self.is_cut.notify_one();
    }
}

impl Drop for MutedLine {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry_until_mute(mut client: TcpStream, mut server: TcpStream, is_mute: &AtomicBool) {
    let (from_client, mut to_client) = client.split();
    let (mut from_server, to_server) = server.split();
    let down = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if !is_mute.load(Ordering::Relaxed) {
                to_client.write_all(&buffer[..count]).await.unwrap();
            }
        }
    };
    tokio::join!(carry_some(from_client, to_server, u64::MAX), down);
}

#[tokio::test]
async fn an_upload_over_a_broken_line_is_complete_and_tells_each_rejection_once() {
    in_time(async {
        let server = Server::start().await;
        // Twice what a full window of chunks takes: what was sent last before a break never arrives.
        let line = BrokenLine::to(&server.address, 200_000, u64::MAX).await;
        let positions = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&positions);
        let source = events("e", 60_000).enumerate().map(|(number, event)| match number % 1000 {
            7 => Event { consumer_id: "x\0".to_owned(), ..event },
            _ => event,
        });
        let uploader = line
            .client()
            .uploader()
            .on_rejection(move |rejected| book.lock().unwrap().push(rejected.position));
        let summary = uploader.upload(source).await.unwrap();
        assert!(summary.reconnects > 3, "{summary:?}");
        assert_eq!((summary.events, summary.tally.rejected), (60_000, 60));
        assert_eq!(*positions.lock().unwrap(), (0..60).map(|number| number * 1000 + 7).collect::<Vec<u64>>());
        assert_eq!(stored_ids(&server.client()).await.len(), 59_940);
    })
    .await;
}

#[tokio::test]
async fn a_follower_over_a_broken_line_has_no_gap_and_no_repeat() {
    in_time(async {
        let server = Server::start().await;
        server.client().uploader().upload(events("e", 20_000)).await.unwrap();
        let line = BrokenLine::to(&server.address, u64::MAX, 200_000).await;
        let reconnects = Arc::new(Mutex::new(0));
        let book = Arc::clone(&reconnects);
        let mut follower = line
            .client()
            .follow(Start::Earliest)
            .stop_at_tail()
            .on_reconnect(move |_| *book.lock().unwrap() += 1)
            .start();
        let mut ids = Vec::new();
        while let Some(stored) = follower.next().await {
            ids.push(id_of(stored.unwrap()));
        }
        assert!(*reconnects.lock().unwrap() > 3);
        assert_eq!(ids, (0..20_000).map(|number| format!("e/{number}")).collect::<Vec<_>>());
    })
    .await;
}
