//! Web servers in namespaces of their own, on one thread, to be killed and brought back.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;

use netstack::dev::Namespace;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle as Task, LocalSet};

use super::web;

/// A server to be: its name, where it lives, and what it listens on there.
#[derive(Debug)]
pub struct Site {
    /// What it answers with.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its address in that namespace.
    pub address: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Start(usize),
    Kill(usize),
}

/// The thread that the servers run on. Dropping it ends them all.
#[derive(Debug)]
pub struct Farm {
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Farm {
    /// Starts a server at every site.
    ///
    /// # Errors
    /// A namespace could not be entered or an address not be bound.
    pub fn start(sites: Vec<Site>) -> io::Result<Self> {
        let listeners = sites.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let (commands, orders) = unbounded_channel();
        let thread = std::thread::Builder::new().name("web".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                LocalSet::new().block_on(&runtime, tend(sites, listeners, orders));
            }
        })?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Ends a server and all its connections, as a crash would.
    pub fn kill(&self, index: usize) {
        self.order(Command::Kill(index));
    }

    /// Starts it again.
    pub fn revive(&self, index: usize) {
        self.order(Command::Start(index));
    }

    fn order(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A farm whose thread has ended has no server left to order about.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn tend(
    sites: Vec<Site>,
    listeners: Vec<std::net::TcpListener>,
    mut orders: UnboundedReceiver<Command>,
) {
    let mut running: Vec<Option<Task<()>>> = Vec::new();
    for (site, listener) in sites.iter().zip(listeners) {
        running.push(spawn(site, listener));
    }
    while let Some(command) = orders.recv().await {
        match command {
            Command::Kill(index) => {
                if let Some(task) = running.get_mut(index).and_then(Option::take) {
                    task.abort();
                }
            }
            Command::Start(index) => {
                if let (Some(site), Some(slot)) = (sites.get(index), running.get_mut(index)) {
                    *slot = bind(site).ok().and_then(|listener| spawn(site, listener));
                }
            }
        }
    }
}

fn spawn(site: &Site, listener: std::net::TcpListener) -> Option<Task<()>> {
    let listener = tokio::net::TcpListener::from_std(listener).ok()?;
    let name: Rc<str> = site.name.as_str().into();
    Some(tokio::task::spawn_local(async move {
        let _ = web::serve(listener, name).await;
    }))
}

fn bind(site: &Site) -> io::Result<std::net::TcpListener> {
    site.namespace
        .run(|| {
            let listener = std::net::TcpListener::bind(site.address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .map_err(io::Error::other)?
}
