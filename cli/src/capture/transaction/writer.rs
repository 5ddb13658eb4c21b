//! The thread that writes requests.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use super::super::batch::Batch;
use super::super::output::{Output, Target};
use super::super::{MAX_SNAPLEN, Options, Origin, Report};

/// Names that are tried for a file whose request's id was there before.
const MAX_SAME: u32 = 1000;

/// A request that is to be written.
#[derive(Debug)]
pub(super) struct Job {
    /// Its id.
    pub(super) id: String,
    /// What is said of the whole.
    pub(super) said: String,
    /// Lines of a TLS key log.
    pub(super) secrets: String,
    pub(super) batch: Batch,
}

/// Where requests go.
#[derive(Debug)]
pub(super) enum Place {
    /// Each into a file of its own in this folder.
    Folder(PathBuf),
    /// One behind the other.
    Stream(Target),
}

/// Starts the thread, which ends when nothing more can come.
pub(super) fn start(
    place: Place,
    origin: Origin,
    jobs: Receiver<Job>,
) -> io::Result<JoinHandle<Report>> {
    let options = Options { snaplen: MAX_SNAPLEN, ..Options::default() };
    if let Place::Folder(folder) = &place {
        std::fs::create_dir_all(folder)?;
    }
    std::thread::Builder::new().name("requests".into()).spawn(move || {
        let mut report = Report::default();
        if let Err(error) = write(place, &origin, &options, &jobs, &mut report) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!("the capture of requests ended early: {error}");
            }
            report.error = Some(format!("the capture of requests ended early: {error}"));
        }
        report
    })
}

fn write(
    place: Place,
    origin: &Origin,
    options: &Options,
    jobs: &Receiver<Job>,
    report: &mut Report,
) -> io::Result<()> {
    match place {
        Place::Folder(folder) => {
            for job in jobs {
                let path = free(&folder, &job.id)?;
                let target = Target::File(path.clone());
                let mut output = Output::open_for(target, origin, options, Some(&job.said))?;
                put(&mut output, &job)?;
                tracing::info!("capture: {} in {}", job.said, path.display());
                report.written += output.written();
                report.files.push(path);
            }
        }
        Place::Stream(target) => {
            let mut output = Output::open(target, origin, options)?;
            output.flush()?;
            for job in jobs {
                put(&mut output, &job)?;
                report.written = output.written();
            }
        }
    }
    Ok(())
}

fn put(output: &mut Output, job: &Job) -> io::Result<()> {
    if !job.secrets.is_empty() {
        output.secrets(&job.secrets)?;
    }
    output.batch(&job.batch)
}

/// A name in `folder` that no file has: clients choose ids, and may choose one twice.
fn free(folder: &Path, id: &str) -> io::Result<PathBuf> {
    for number in 1..=MAX_SAME {
        let name = match number {
            1 => format!("{id}.pcapng"),
            _ => format!("{id}-{number}.pcapng"),
        };
        let path = folder.join(name);
        match File::create_new(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{MAX_SAME} files of request {id}")))
}
