//! What only a real connection shows: large bodies, slow senders, the stop.

use std::time::Duration;

use launchkit::http::listen::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::App;

struct Served {
    address: String,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(app: &App) -> Served {
    let listener = Listener::bind("127.0.0.1", 0, None).await.unwrap();
    let address = listener.url().strip_prefix("http://").unwrap().to_owned();
    let stop = CancellationToken::new();
    let server = tokio::spawn(listener.serve(app.router.clone(), stop.clone(), Duration::from_secs(20)));
    Served { address, stop, server }
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap().unwrap();
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_50_mb_gets_to_read_why_it_is_refused() {
    let app = App::new().await;
    let served = serve(&app).await;
    let mut stream = TcpStream::connect(&served.address).await.unwrap();
    let size = 50 * 1024 * 1024;
    let head = format!(
        "POST /v1/jobs/sentiment HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n",
        app.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b' '; 1024 * 1024];
    for _ in 0..50 {
        stream.write_all(&chunk).await.unwrap();
    }
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body-too-large"), "{answer}");
    assert_eq!(app.jobs().await, 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_break_off_create_nothing() {
    let app = App::new().await;
    let served = serve(&app).await;
    let mut stream = TcpStream::connect(&served.address).await.unwrap();
    let head = format!(
        "POST /v1/jobs/sentiment HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{{\"text\"",
        app.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(app.jobs().await, 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_an_open_request_finish_and_takes_no_new_connection() {
    let app = App::new().await;
    let served = serve(&app).await;
    let mut stream = TcpStream::connect(&served.address).await.unwrap();
    let body = r#"{"text":"x"}"#;
    let head = format!(
        "POST /v1/jobs/sentiment HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        app.key,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is being worked on.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "));
    served.stop.cancel();
    while TcpStream::connect(&served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    served.end().await;
    assert_eq!(app.jobs().await, 1);
}

#[tokio::test]
async fn who_says_nothing_or_speaks_another_version_is_sent_away() {
    let app = App::new().await;
    let served = serve(&app).await;
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    for said in [&b""[..], b"P", b"GET /healthz", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let shown = String::from_utf8_lossy(said);
        let mut answering = std::pin::pin!(answer(&mut stream));
        // Paused time runs ahead of real sockets: until the server has seen the connection, a minute is no time at all.
        let mut minutes = 0;
        let answered = loop {
            match tokio::time::timeout(Duration::from_secs(60), &mut answering).await {
                Ok(answered) => break answered,
                Err(_) if minutes < 1_000 => minutes += 1,
                Err(_) => panic!("{shown:?} keeps its place"),
            }
        };
        assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 4"), "{shown:?}: {answered}");
    }
    served.end().await;
}
