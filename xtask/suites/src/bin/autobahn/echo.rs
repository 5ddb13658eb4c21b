//! A server that sends every message back.

use std::net::{TcpListener, TcpStream};
use std::thread;

use tungstenite::{Message, accept};

/// Serves each connection in a thread of its own, as long as the process lives.
pub fn serve(listener: TcpListener) {
    for stream in listener.incoming().filter_map(Result::ok) {
        thread::spawn(move || echo(stream));
    }
}

/// Until the connection ends, however that may be: what is wrong the suite sees for itself.
fn echo(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(mut socket) = accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).is_err()
        {
            return;
        }
    }
}
