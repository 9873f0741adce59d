//! A pseudo-terminal with a command on it, and what a person sees there.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use pty_process::Size;
use pty_process::blocking::{Pty, open};

use crate::harness::until;

/// Everything that the command wrote, as it came and as a terminal shows it.
struct Seen {
    raw: Vec<u8>,
    shown: vt100::Parser,
}

/// A terminal on which one command runs.
pub(crate) struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    seen: Arc<Mutex<Seen>>,
}

fn number(of: u16) -> NonZeroU16 {
    NonZeroU16::new(of).unwrap()
}

impl Terminal {
    /// Runs `command`, with its arguments, directory and environment, on a terminal of its own.
    pub(crate) fn run(command: &Command, columns: u16, lines: u16) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(lines, columns)).unwrap();
        let envs = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let child = pty_process::blocking::Command::new(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap())
            .env_clear()
            .envs(envs)
            .env("TERM", "xterm-256color")
            .spawn(pts)
            .unwrap();
        let shown = vt100::Parser::new(number(lines), number(columns), 0);
        let seen = Arc::new(Mutex::new(Seen { raw: Vec::new(), shown }));
        let pty = Arc::new(pty);
        let (from, into) = (Arc::clone(&pty), Arc::clone(&seen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails when the command has ended.
            while let Ok(count @ 1..) = (&*from).read(&mut buffer) {
                let mut seen = into.lock().unwrap();
                seen.raw.extend_from_slice(&buffer[..count]);
                seen.shown.process(&buffer[..count]);
            }
        });
        Self { child, pty, seen }
    }

    /// Types.
    pub(crate) fn keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Pastes, as a terminal does that was asked to bracket what is pasted.
    pub(crate) fn paste(&self, text: &str) {
        assert!(self.seen.lock().unwrap().shown.screen().bracketed_paste());
        self.keys(&format!("\u{1b}[200~{text}\u{1b}[201~"));
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().shown.screen().contents()
    }

    /// Every byte that the command wrote, as text.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned()
    }

    /// Waits until `ready` holds of the screen.
    #[track_caller]
    pub(crate) fn when(&self, what: &str, ready: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || {
                last = self.screen();
                ready(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{what} never came; the screen:\n{last}"))
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub(crate) fn sees(&self, text: &str) -> String {
        self.when(&format!("`{text}`"), |screen| screen.contains(text))
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.seen.lock().unwrap().shown.set_size(number(lines), number(columns));
        self.pty.resize(Size::new(lines, columns)).unwrap();
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the command's end, and gives its exit code; the terminal must be as it was before.
    #[track_caller]
    pub(crate) fn ends(mut self) -> i32 {
        // The command had the terminal in raw mode; it waits for whole lines again, and echoes them.
        until("the terminal to be restored", || {
            let seen = self.seen.lock().unwrap();
            let screen = seen.shown.screen();
            let given_back =
                !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste();
            drop(seen);
            let flags = tcgetattr(&*self.pty).unwrap().local_flags;
            (given_back && flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)).then_some(())
        });
        let status = until("the command to end", || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
