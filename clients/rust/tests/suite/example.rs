//! The README: its program is the example, and its output is what the example prints.

use std::{fs, path::Path};

use tokio::process::Command;

use crate::servers::{Server, in_time};

#[tokio::test]
async fn the_example_prints_what_the_readme_says_however_often_it_is_run() {
    in_time(async {
        let server = Server::start().await;
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readme = fs::read_to_string(package.join("README.md")).unwrap();
        let blocks: Vec<&str> = readme.split("\n```").collect();
        let place = blocks.iter().position(|block| block.contains("async fn main")).unwrap();
        let program = blocks[place].split_once('\n').unwrap().1;
        let output = blocks[place + 2].split_once('\n').unwrap().1;
        assert_eq!(fs::read_to_string(package.join("examples/quickstart.rs")).unwrap().trim_end(), program);

        // Cargo builds the examples together with the tests.
        let folder = std::env::current_exe().unwrap().parent().unwrap().join("../examples/quickstart");
        for _ in 0..2 {
            let run = Command::new(&folder).env("ENGAGEMENT_SERVER", &server.address).output();
            let printed = run.await.unwrap();
            assert!(printed.status.success(), "{printed:?}");
            assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), output);
        }
    })
    .await;
}
