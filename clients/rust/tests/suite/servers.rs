//! The servers that the tests talk to, each a process of its own, and what the tests say to them.

use std::{
    env,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use engagement_attributes::{
    Client, Start,
    v1::{CustomerInfo, Event, StoredEvent},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// No test may take longer.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What `test` gives, in time.
pub async fn in_time<T>(test: impl Future<Output = T>) -> T {
    timeout(DEADLINE, test).await.expect("the test takes too long")
}

/// The root of the repository, where the servers run.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Starts a Python module that prints one line when it is ready, and gives that line.
pub async fn spawn(arguments: &[&str]) -> (Child, String) {
    let python =
        env::var_os("ENGAGEMENT_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    let mut child = Command::new(python)
        .arg("-m")
        .args(arguments)
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the server can be started");
    let output = child.stdout.take().expect("the output is a pipe");
    let mut lines = BufReader::new(output).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.expect("the server starts in time");
    // Whoever closes the pipe ends a server that prints more.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, line.expect("the output is text").expect("the server says that it is ready"))
}

/// The real server, with data of its own.
pub struct Server {
    child: Child,
    pub address: String,
    data: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        let data = TempDir::new().expect("a folder can be made");
        let (child, address) = serve("127.0.0.1:0", data.path()).await;
        Self { child, address, data }
    }

    pub fn client(&self) -> Client {
        Client::builder(&self.address, "tests").build().expect("the client can be built")
    }

    /// SIGKILL: nothing is said to anybody.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the server can be killed");
    }

    /// SIGSTOP: it holds its connections and says nothing any more.
    pub async fn freeze(&self) {
        let pid = self.child.id().expect("the server runs").to_string();
        let done = Command::new("kill").args(["-STOP", &pid]).status().await.expect("kill is there");
        assert!(done.success());
    }

    /// Starts it again, at the same address with the same data.
    pub async fn restart(&mut self) {
        self.kill().await;
        let (child, address) = serve(&self.address, self.data.path()).await;
        assert_eq!(address, self.address);
        self.child = child;
    }
}

async fn serve(listen: &str, data: &Path) -> (Child, String) {
    let data = data.to_str().expect("the folder has a name in UTF-8");
    let (child, line) = spawn(&["engagement.cli", "serve", "--listen", listen, "--data", data]).await;
    let address = line.strip_prefix("listening on ").expect("the server says where it listens");
    (child, address.to_owned())
}

/// An event with this id.
pub fn event(event_id: impl Into<String>) -> Event {
    let customer = CustomerInfo::default().with_customer_id("NW-7").with_balance("12.50");
    Event { event_id: event_id.into(), attributes: customer.into(), ..Default::default() }
}

/// So many events, `prefix/0` and on.
pub fn events(prefix: &str, count: usize) -> impl Iterator<Item = Event> + use<'_> {
    (0..count).map(move |number| event(format!("{prefix}/{number}")))
}

/// The ids of all stored events, in the order of acceptance.
pub async fn stored_ids(client: &Client) -> Vec<String> {
    let mut follower = client.follow(Start::Earliest).stop_at_tail().start();
    let mut ids = Vec::new();
    while let Some(batch) = follower.next_batch().await {
        ids.extend(batch.expect("nothing fails").events.into_iter().map(id_of));
    }
    ids
}

pub fn id_of(stored: StoredEvent) -> String {
    stored.event.into_option().unwrap_or_default().event_id
}
