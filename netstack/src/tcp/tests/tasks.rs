//! Streams of tasks on a single-threaded runtime, with the wire and the clock in the test's hand.

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, yield_now};

use super::*;
use crate::packet::Packet;
use crate::wire::{Headers, Tcp};

const SERVER: &str = "10.0.0.2:80";

/// What happens to the client's packets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cable {
    In,
    Out,
    /// They are answered as a host without such a service does.
    Refusing,
}

/// Carries packets between two stacks at once, and jumps time on when nothing else happens.
async fn carry(stacks: [Stack; 2], cable: Rc<Cell<Cable>>) {
    let (mut now, mut packet) = (at(1), Packet::with_capacity(0));
    loop {
        let mut moved = false;
        for from in 0..2 {
            while stacks[from].with(|end| end.poll_transmit(now, &mut packet)) {
                moved = true;
                let mut to = 1 - from;
                match cable.get() {
                    Cable::In => {}
                    Cable::Out => continue,
                    Cable::Refusing => {
                        refuse(&mut packet);
                        to = from;
                    }
                }
                let headers = Headers::parse(&packet).unwrap();
                stacks[to].with(|end| end.handle_packet(now, &packet, &headers, 9));
            }
        }
        for _ in 0..20 {
            yield_now().await;
        }
        if !moved {
            let next = stacks.iter().filter_map(|stack| stack.with(|end| end.poll_timeout())).min();
            now = next.map_or(now, |next| now.max(next));
            for stack in &stacks {
                stack.with(|end| end.handle_timeout(now));
            }
        }
    }
}

/// Makes of a segment the RST that answers it.
fn refuse(packet: &mut Packet) {
    let headers = Headers::parse(packet).unwrap();
    let tcp = Tcp::new_checked(&packet.data()[headers.l4()..]).unwrap();
    reply::Reply::reset_for(&headers.tuple().unwrap(), &tcp).write(packet);
}

/// Runs `test` with a client's and a server's stack and a cable that can be pulled.
fn with_stacks<T: Future<Output = ()>>(test: impl FnOnce(Stack, Stack, Rc<Cell<Cable>>) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let small =
        EndpointConfig { receive_buffer: 3000, send_buffer: 3000, ..EndpointConfig::new(SEED) };
    let (client, server) =
        (Stack::new(Endpoint::new(small.clone())), Stack::new(Endpoint::new(small)));
    let cable = Rc::new(Cell::new(Cable::In));
    let local = LocalSet::new();
    local.spawn_local(carry([client.clone(), server.clone()], cable.clone()));
    runtime.block_on(local.run_until(test(client, server, cable)));
}

async fn connect(client: &Stack) -> std::io::Result<TcpStream> {
    client.connect(addr("10.0.0.1:0"), addr(SERVER)).await
}

#[test]
fn an_echo_comes_back_whole_and_half_a_close_ends_it() {
    with_stacks(|client, server, _| async move {
        let echo = tokio::task::spawn_local(async move {
            let (stream, tag) = server.accept().await;
            assert_eq!((tag, stream.local_addr()), (9, addr(SERVER)));
            let (mut read, mut write) = tokio::io::split(stream);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let (mut read, mut write) = tokio::io::split(connect(&client).await.unwrap());
        let sent: Vec<u8> = (0..100_000_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::task::spawn_local(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        assert!(got == expected);
        writer.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn slices_are_written_as_one() {
    with_stacks(|client, server, _| async move {
        let mut stream = connect(&client).await.unwrap();
        let (mut accepted, _) = server.accept().await;
        let slices = [&b"head "[..], b"", b"body"].map(std::io::IoSlice::new);
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 9);
        let mut got = [0; 9];
        accepted.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"head body");
        assert_eq!(accepted.peer_addr(), stream.local_addr());
    });
}

#[test]
fn a_dropped_stream_is_read_to_its_end_and_a_dropped_reader_resets() {
    with_stacks(|client, server, _| async move {
        let mut stream = connect(&client).await.unwrap();
        let (mut accepted, _) = server.accept().await;
        stream.write_all(b"all of it").await.unwrap();
        drop(stream);
        let mut got = Vec::new();
        accepted.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"all of it");

        let mut stream = connect(&client).await.unwrap();
        let (accepted, _) = server.accept().await;
        stream.write_all(b"never read").await.unwrap();
        while server.with(|end| end.recv_queue(accepted.id())) == 0 {
            yield_now().await;
        }
        drop(accepted);
        let error = stream.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = stream.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn failures_have_the_names_that_a_kernel_gives_them() {
    with_stacks(|client, server, cable| async move {
        cable.set(Cable::Refusing);
        let error = connect(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        cable.set(Cable::In);
        let mut stream = connect(&client).await.unwrap();
        let (accepted, _) = server.accept().await;
        accepted.abort();
        let error = stream.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        cable.set(Cable::Out);
        let error = connect(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = client.connect(addr("10.0.0.1:0"), addr("[fd00::1]:1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_peer_that_falls_silent_times_a_writer_out() {
    with_stacks(|client, server, cable| async move {
        let mut stream = connect(&client).await.unwrap();
        let _accepted = server.accept().await;
        cable.set(Cable::Out);
        stream.write_all(b"anybody there?").await.unwrap();
        let error = stream.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_connect_that_is_dropped_leaves_nothing() {
    with_stacks(|client, _, cable| async move {
        cable.set(Cable::Out);
        let attempt = tokio::task::spawn_local({
            let client = client.clone();
            async move { connect(&client).await.map(|_| ()) }
        });
        while client.with(|end| end.stats().connections) == 0 {
            yield_now().await;
        }
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
        assert_eq!(client.with(|end| end.stats().connections), 0);
    });
}

#[test]
fn listeners_take_turns_and_refuse_what_is_nobodys() {
    with_stacks(|client, server, _| async move {
        let web = server.listen(addr(SERVER)).unwrap();
        let in_use = server.listen(addr(SERVER)).unwrap_err();
        assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
        let rest = server.listen(addr("0.0.0.0:0")).unwrap();
        assert_eq!((web.local_addr(), rest.local_addr()), (addr(SERVER), addr("0.0.0.0:0")));
        let waiting = tokio::task::spawn_local(async move { web.accept().await.0 });
        let other = client.connect(addr("10.0.0.1:0"), addr("10.0.0.7:22")).await.unwrap();
        let (accepted, peer) = rest.accept().await;
        assert_eq!((accepted.local_addr(), peer), (addr("10.0.0.7:22"), other.local_addr()));
        let stream = connect(&client).await.unwrap();
        assert_eq!(waiting.await.unwrap().peer_addr(), stream.local_addr());

        drop(rest);
        let error = connect(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_stream_is_told_how_to_control_congestion_and_to_probe() {
    with_stacks(|client, server, cable| async move {
        let mut stream = connect(&client).await.unwrap();
        let _accepted = server.accept().await;
        stream.set_congestion(Algorithm::Bbr).unwrap();
        let info = stream.info().and_then(|info| info.sender).unwrap();
        assert_eq!(info.congestion, "bbr");
        let idle = Duration::from_mins(1);
        stream.set_keepalive(Some(KeepaliveConfig { idle, ..Default::default() })).unwrap();
        cable.set(Cable::Out);
        // Nothing is in flight: without probes this would never end.
        let error = stream.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_a_connection_went_through_is_known_after_a_reset() {
    with_stacks(|client, server, cable| async move {
        let mut stream = connect(&client).await.unwrap();
        let (mut accepted, _) = server.accept().await;
        let (local, remote) = (accepted.local_addr(), accepted.peer_addr());
        assert_eq!(server.with(|end| end.find(local, remote)), Some(accepted.id()));
        let before = accepted.vitals().unwrap();
        assert!(before.handshake_rtt.is_some() && before.smoothed_rtt.is_some(), "{before:?}");

        // SYN and ACK went, SYN-ACK came; 2000 bytes are two segments, sent again after the outage.
        cable.set(Cable::Out);
        accepted.write_all(&[7; 2000]).await.unwrap();
        for _ in 0..100 {
            yield_now().await;
        }
        cable.set(Cable::In);
        stream.read_exact(&mut [0; 2000]).await.unwrap();
        stream.abort();
        accepted.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(server.with(|end| end.find(local, remote)), None, "it is over");
        let after = accepted.vitals().unwrap();
        assert!(after.was_reset && after.retransmitted_segments > 0, "{after:?}");
        assert!(after.segments_sent > 1 + 2 && after.segments_received > 1, "{after:?}");
        assert_eq!(after.handshake_rtt, before.handshake_rtt);
        let id = accepted.id();
        drop(accepted);
        assert_eq!(server.with(|end| end.vitals(id)), None);
    });
}
