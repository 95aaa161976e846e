//! One Chromium for all tests, which may run side by side, driven line by line through `driver.mjs`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use serde_json::Value;

use crate::{here, made};

/// Chromium and the process that drives it. Ends with its standard input, so with the tests.
pub struct Browser {
    _driver: Child,
    requests: Mutex<Requests>,
    waiting: Arc<Mutex<Waiting>>,
}

struct Requests {
    pipe: ChildStdin,
    last_id: u64,
}

/// By the request's id.
type Waiting = HashMap<u64, Sender<Value>>;

/// What the driver says of itself when Chromium runs.
const STARTED: u64 = 0;

impl Browser {
    /// Starts it; takes some seconds.
    #[must_use]
    pub fn start() -> Self {
        made(here().join("node_modules"));
        let mut driver = Command::new("node")
            .arg("driver.mjs")
            .current_dir(here())
            .env("CHROMIUM", "/usr/bin/chromium")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let pipe = driver.stdin.take().expect("piped");
        let answers = BufReader::new(driver.stdout.take().expect("piped"));
        let (sender, started) = channel();
        let waiting = Arc::new(Mutex::new(HashMap::from([(STARTED, sender)])));
        thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || hand_out(answers, &waiting)
        });
        answer(&started).expect("Chromium starts");
        Self {
            _driver: driver,
            requests: Mutex::new(Requests {
                pipe,
                last_id: STARTED,
            }),
            waiting,
        }
    }

    /// Asks the driver; `Err` is what the page or the driver says.
    pub(crate) fn ask(&self, mut request: Value) -> Result<Value, String> {
        let (sender, answers) = channel();
        {
            let requests = &mut *lock(&self.requests);
            requests.last_id += 1;
            request["id"] = requests.last_id.into();
            lock(&self.waiting).insert(requests.last_id, sender);
            writeln!(requests.pipe, "{request}").expect("the driver reads");
        }
        answer(&answers)
    }
}

/// Gives each answer to whoever waits for it. Who still waits when the driver ends learns that.
fn hand_out(answers: BufReader<ChildStdout>, waiting: &Mutex<Waiting>) {
    for line in answers.lines().map_while(Result::ok) {
        let answer: Value = serde_json::from_str(&line).expect("the driver writes JSON");
        let asked = answer["id"]
            .as_u64()
            .and_then(|id| lock(waiting).remove(&id));
        if let Some(asked) = asked {
            // Who panicked meanwhile does not wait.
            let _ = asked.send(answer);
        }
    }
    lock(waiting).clear();
}

fn answer(answers: &Receiver<Value>) -> Result<Value, String> {
    let answer = answers.recv().expect("the driver runs");
    match answer.get("error") {
        Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
        None => Ok(answer["ok"].clone()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
