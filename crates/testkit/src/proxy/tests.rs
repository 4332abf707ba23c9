#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;

use super::*;

/// A server that sends back what it gets, its address, and the first end of a connection that it sees.
async fn echo() -> (SocketAddr, mpsc::Receiver<io::Result<()>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ends, seen) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let ends = ends.clone();
            tokio::spawn(async move {
                let (mut from, mut to) = connection.split();
                let end = tokio::io::copy(&mut from, &mut to).await.map(drop);
                drop(connection);
                let _ = ends.send(end).await;
            });
        }
    });
    (address, seen)
}

async fn ask(client: &mut TcpStream, what: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(what).await?;
    let mut answer = vec![0; what.len()];
    client.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn set_up() -> (Proxy, TcpStream, mpsc::Receiver<io::Result<()>>) {
    let (server, ends) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut client, b"hello").await.unwrap(), b"hello");
    (proxy, client, ends)
}

#[tokio::test]
async fn a_healthy_line_carries_bytes_and_ends() {
    let (proxy, mut client, mut ends) = set_up().await;
    let long: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let (mut from, mut to) = client.split();
    let mut answer = vec![0; long.len()];
    let (sent, got) = tokio::join!(to.write_all(&long), from.read_exact(&mut answer));
    sent.unwrap();
    got.unwrap();
    assert_eq!(answer, long);
    to.shutdown().await.unwrap();
    assert!(ends.recv().await.unwrap().is_ok());
    assert_eq!(from.read(&mut answer).await.unwrap(), 0);
    let _ = proxy.open.subscribe().wait_for(|open| *open == 0).await;
}

#[tokio::test]
async fn a_cut_resets_both_sides_and_new_connections_until_it_is_healed() {
    let (proxy, mut client, mut ends) = set_up().await;
    proxy.cut().await;
    assert_eq!(proxy.connections(), 0);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ends.recv().await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(ask(&mut late, b"x").await.is_err());
    proxy.heal();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut new, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_half_open_line_swallows_and_closes_nothing() {
    let (proxy, mut client, mut ends) = set_up().await;
    let mut idle = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut idle, b"idle").await.unwrap(), b"idle");
    proxy.half_open();
    let silence = Duration::from_millis(100);
    assert!(tokio::time::timeout(silence, ask(&mut client, b"lost")).await.is_err());
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(tokio::time::timeout(silence, ask(&mut late, b"lost")).await.is_err());
    assert!(ends.try_recv().is_err());
    proxy.heal();
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(late.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&mut idle, b"alive").await.unwrap(), b"alive");
}

#[tokio::test]
async fn a_slow_line_delays_each_direction_and_keeps_the_order() {
    let (proxy, mut client, _ends) = set_up().await;
    proxy.slow(Duration::from_millis(60), Duration::from_millis(40));
    let began = Instant::now();
    client.write_all(b"ab").await.unwrap();
    assert_eq!(ask(&mut client, b"cd").await.unwrap(), b"ab");
    assert!(began.elapsed() >= Duration::from_millis(100));
    let mut rest = [0; 2];
    client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"cd");
    proxy.heal();
    assert_eq!(ask(&mut client, b"ef").await.unwrap(), b"ef");
}
