//! The mission document's own examples against the real binary: every curl command as it stands there
//! (URLs quoted, placeholders filled in), every shape and log line that it shows.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{On, Place, Ran, Server, on_each_store, ran, until};

on_each_store! {
    every_curl_of_the_document_works_and_answers_what_it_shows
    the_test_job_ends_as_the_document_shows_and_the_log_tells_of_it
    the_test_script_works_as_the_document_calls_it
}

const MISSION: &str = include_str!("../data/mission.md");

/// A fenced block: its language and its text.
struct Block {
    section: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let (mut found, mut section, mut open) = (Vec::new(), String::new(), None::<Block>);
    for line in MISSION.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, Some(language)) => {
                open = Some(Block { section: section.clone(), language: language.to_owned(), text: String::new() });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    section = title.to_owned();
                }
            }
        }
    }
    found
}

/// The curl commands of these sections, each on one line.
fn curls(sections: &[&str]) -> Vec<String> {
    let wanted =
        blocks().into_iter().filter(|block| block.language == "bash" && sections.contains(&block.section.as_str()));
    let joined = wanted.map(|block| block.text.replace("\\\n", " "));
    let lines = joined.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with("curl ")).collect()
}

/// Puts quotes round the address: unquoted, a shell cuts it at `&`.
fn quoted(command: &str) -> String {
    let words =
        command.split(' ').map(|word| if word.starts_with("http://") { format!("'{word}'") } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

/// The JSON that the document shows, with `{...}` for what it leaves out.
fn shown(part: &str) -> Value {
    let block = blocks().into_iter().find(|block| block.language == "json" && block.text.contains(part));
    serde_json::from_str(&block.unwrap().text.replace("{...}", "{}")).unwrap()
}

struct Mission {
    place: Place,
    server: Server,
    key: String,
    token: String,
}

impl Mission {
    fn begin(on: On) -> Mission {
        let place = Place::on(on);
        let server = place.serve(&[]);
        let (key, token) = (server.first_key(), place.run(&["token", "create", "--role", "operator"], &[]).out);
        Mission { place, server, key, token: token.trim_end().to_owned() }
    }

    /// Runs a command of the document; it must be answered with a status that says success.
    fn curl(&self, command: &str, job: &str) -> Value {
        let filled = quoted(command)
            .replace("http://localhost:3001", &self.server.url)
            .replace("YOUR_API_KEY", &self.key)
            .replace("YOUR_JWT_TOKEN", &self.token)
            .replace("{jobId}", job);
        let ran = self.sh(&filled.replacen("curl ", "curl --silent --show-error --fail-with-body ", 1));
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        ran.json()
    }

    fn sh(&self, line: &str) -> Ran {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.place.path("")).env("LAUNCHKIT_URL", &self.server.url);
        ran(command.output().unwrap())
    }

    /// The job when it has ended, read with the document's own command.
    fn ended(&self, job: &str) -> Value {
        let command = curls(&["Testing"]).into_iter().find(|command| command.contains("{jobId}")).unwrap();
        until("the end of a job", || {
            let job = self.curl(&command, job);
            matches!(job["status"].as_str(), Some("SUCCEEDED" | "FAILED")).then_some(job)
        })
    }
}

/// Every field that the document shows is there and of the same kind.
fn assert_shape(got: &Value, shown: &Value, at: &str) {
    let Some(fields) = shown.as_object() else {
        assert_eq!(std::mem::discriminant(got), std::mem::discriminant(shown), "{at}: {got} is not like {shown}");
        return;
    };
    for (name, value) in fields {
        let field = got.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing in {got}"));
        assert_shape(field, value, &format!("{at}/{name}"));
    }
}

/// Whether a line fits a pattern in which `*` stands for anything but nothing.
fn fits(line: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let Some(start) = line.find(parts[0]) else { return false };
    let mut rest = &line[start + parts[0].len()..];
    parts[1..].iter().all(|part| match rest.char_indices().skip(1).find(|(at, _)| rest[*at..].starts_with(part)) {
        Some((at, _)) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => part.is_empty() && !rest.is_empty(),
    })
}

fn log_lines_after(heading: &str) -> Vec<String> {
    let at = MISSION.find(heading).unwrap();
    let block = MISSION[at..].split("```").nth(1).unwrap();
    block.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn every_curl_of_the_document_works_and_answers_what_it_shows(on: On) {
    let commands = curls(&["Usage", "Testing", "Monitoring", "Troubleshooting"]);
    assert_eq!(commands.len(), 13, "the document's commands were not all found: {commands:#?}");
    let mission = Mission::begin(on);
    let mut job = String::new();
    for command in &commands {
        let answer = mission.curl(command, &job);
        if command.contains("-X POST") && command.contains("/v1/jobs/") {
            assert!(answer["status"] == "QUEUED" || answer["status"] == "PROCESSING", "{answer}");
            job = answer["id"].as_str().unwrap().to_owned();
            assert!(job.starts_with('c'));
        } else if command.contains("limit=10&offset=0") {
            assert_eq!((&answer["limit"], &answer["offset"], &answer["total"]), (&10.into(), &0.into(), &3.into()));
        } else if command.contains("/metrics/all") {
            assert_shape(&answer, &shown("aiJobs"), "");
        } else if command.contains("/queue/metrics") {
            assert_shape(&answer, &shown("aiJobs")["aiJobs"], "");
        } else if command.contains("/v1/admin/") {
            assert_eq!(answer["success"], true, "{answer}");
        } else {
            assert_eq!(answer["id"], job.as_str());
        }
    }
}

fn the_test_job_ends_as_the_document_shows_and_the_log_tells_of_it(on: On) {
    let mission = Mission::begin(on);
    let command = curls(&["Testing"]).into_iter().find(|command| command.contains("This is a test job")).unwrap();
    let id = mission.curl(&command, "")["id"].as_str().unwrap().to_owned();
    let job = mission.ended(&id);
    assert_shape(&job, &shown("originalLength"), "");
    assert_eq!(
        (&job["status"], &job["type"], &job["costCents"]),
        (&"SUCCEEDED".into(), &"SUMMARIZE".into(), &0.into())
    );
    let output = &job["output"];
    let (original, summary) = (output["originalLength"].as_u64().unwrap(), output["summaryLength"].as_u64().unwrap());
    assert_eq!(original, job["input"]["text"].as_str().unwrap().chars().count() as u64);
    assert_eq!(summary, output["summary"].as_str().unwrap().chars().count() as u64);
    assert!(0 < summary && summary < original);

    let log = mission.server.log();
    for line in log_lines_after("Check logs for:") {
        assert!(log.lines().any(|written| written.ends_with(&line)), "{line:?} is not in the log");
    }
    let tokens = job["tokenUsed"].to_string();
    for line in log_lines_after("You should see:") {
        let pattern = line.replace("clx...", &id).replace("...", "*").replace("45", &tokens);
        // The run's end is committed, and so readable, a moment before its line is written.
        until(&pattern, || mission.server.log().lines().any(|written| fits(written, &pattern)).then_some(()));
    }
}

fn the_test_script_works_as_the_document_calls_it(on: On) {
    let mission = Mission::begin(on);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let block = blocks().into_iter().find(|block| block.text.contains("test-queue.sh")).unwrap();
    let line =
        block.text.replace("/path/to/LaunchKit", root).replace("YOUR_API_KEY", &mission.key).replace('\n', " && ");
    let ran = mission.sh(line.trim_end_matches(" && "));
    assert_eq!(ran.code, 0, "{ran:?}");
    for kind in ["summarize", "classify", "sentiment", "extract"] {
        assert!(ran.out.contains(&format!("{kind}: SUCCEEDED")), "{ran:?}");
    }
    let wrong = mission.sh(&format!("cd {root} && ./test-queue.sh lk_live_nope"));
    assert!(wrong.code == 1 && wrong.err.contains("401"), "{wrong:?}");
    assert_eq!(mission.sh(&format!("cd {root} && ./test-queue.sh")).code, 2);
    assert_eq!(mission.sh(&format!("cd {root} && LAUNCHKIT_URL=http://127.0.0.1:9 ./test-queue.sh x")).code, 3);
}

/// Every `redis-cli` line of the document, with the port of the test's own server.
#[test]
fn what_the_document_looks_at_with_redis_cli_is_there() {
    let lines: Vec<String> = blocks().iter().flat_map(|block| block.text.lines()).filter_map(redis_cli).collect();
    let asked =
        |part: &str| lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {lines:?}"));
    let mission = Mission::begin(On::Redis);
    let port = mission.place.redis().port();
    let say = |line: &str| {
        let ran = mission.sh(&line.replacen("redis-cli", &format!("redis-cli -p {port}"), 1));
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    };
    assert_eq!(say(asked(" ping")), "PONG\n");
    assert!(say(asked("info memory")).contains("used_memory_human"));

    let mut watch = Command::new("redis-cli");
    let mut watch = watch.args(["-p", &port.to_string(), "monitor"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(seen.next().as_deref(), Some("OK"), "{}", asked("monitor"));

    let commands = curls(&["Usage", "Testing"]);
    let command = |part: &str| commands.iter().find(|command| command.contains(part)).unwrap();
    mission.curl(command("queue/pause"), "");
    for part in ["jobs/summarize", "jobs/classify"] {
        assert_eq!(mission.curl(command(part), "")["status"], "QUEUED");
    }
    let length = asked("llen");
    until("both jobs in the list", || (say(length) == "2\n").then_some(()));
    assert!(seen.any(|line| line.contains("\"bull:ai-jobs:\"")), "the monitor shows the adding");
    let keys = say(asked("keys"));
    for key in ["bull:ai-jobs:wait", "bull:ai-jobs:meta", "bull:ai-jobs:id", "bull:ai-jobs:events"] {
        assert!(keys.lines().any(|line| line == key), "{key}: {keys}");
    }
    mission.curl(command("queue/resume"), "");
    until("an empty list", || (say(length) == "0\n").then_some(()));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// A `redis-cli` command of a line, without its comment.
fn redis_cli(line: &str) -> Option<String> {
    let command = line.split('#').next().unwrap_or_default().trim();
    command.starts_with("redis-cli ").then(|| command.to_owned())
}

#[test]
fn patterns_fit_lines() {
    assert!(fits("12:00 INFO Job c1 of org acme", "Job c1 of org *"));
    assert!(!fits("Job c1 of org ", "Job c1 of org *"));
    assert!(!fits("Job c2 of org acme", "Job c1 of org *"));
    assert!(fits("a x c", "a * c") && !fits("a  d", "a * c"));
}
