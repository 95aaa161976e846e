//! The log: tracing to standard output through a bounded buffer, so that a slow terminal never holds up a message.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config;

/// What waits to be written; lines beyond it are counted and dropped.
const LOG_BUFFER_BYTES_MAX: usize = 4 << 20;
/// How long a line waits for others to go with it.
const LOG_DELAY: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Buffer {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

/// Writes what waits when it is dropped.
#[derive(Debug)]
#[must_use = "the log ends with it"]
pub struct LogGuard {
    buffer: Arc<Buffer>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the log of this process.
///
/// # Errors
/// There is one already, or no thread to be had.
pub fn start(config: &config::Log) -> Result<LogGuard> {
    let buffer = Arc::<Buffer>::default();
    let filter = EnvFilter::try_new(&config.filter).context("log.filter")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Writer(Arc::clone(&buffer)))
        .with_ansi(io::stdout().is_terminal());
    let started = match config.format {
        config::LogFormat::Text => builder.try_init(),
        config::LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("no log: {error}"))?;
    let source = Arc::clone(&buffer);
    let thread = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || source.write_all(&mut io::stdout()))?;
    Ok(LogGuard {
        buffer,
        thread: Some(thread),
    })
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.buffer.lock().is_over = true;
        self.buffer.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > LOG_BUFFER_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn write_all(&self, out: &mut impl Write) {
        let mut writing = Vec::new();
        loop {
            let mut waiting = self.lock();
            while waiting.bytes.is_empty() && !waiting.is_over {
                waiting = self
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.is_over {
                drop(waiting);
                thread::sleep(LOG_DELAY);
                waiting = self.lock();
            }
            std::mem::swap(&mut writing, &mut waiting.bytes);
            let (dropped, is_over) = (std::mem::take(&mut waiting.dropped), waiting.is_over);
            drop(waiting);
            // Nobody is left to be told that the log cannot be written.
            let _ = out.write_all(&writing);
            if dropped > 0 {
                let _ = writeln!(out, "{dropped} lines of the log were dropped");
            }
            let _ = out.flush();
            writing.clear();
            if is_over {
                return;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Writer(Arc<Buffer>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_in_order_and_a_flood_is_counted() {
        let buffer = Buffer::default();
        buffer.push(b"one\n");
        buffer.push(b"two\n");
        buffer.push(&vec![b'x'; LOG_BUFFER_BYTES_MAX]);
        buffer.lock().is_over = true;
        let mut out = Vec::new();
        buffer.write_all(&mut out);
        assert_eq!(out, b"one\ntwo\n1 lines of the log were dropped\n");
    }
}
