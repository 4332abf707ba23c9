//! The `launchkit` binary: everything is in the library's `cli`.

fn main() -> std::process::ExitCode {
    launchkit::cli::main()
}
