//! `countersign approvals watch` on a terminal: what is pending, live, and decided with keys.
//!
//! `model`, `list`, `detail`, `page`, `followed` and `keys` are the state machine, `view` and `text` what is
//! seen of it; both are pure. `screen` is the terminal, `link` the gateway, `editor` the person's editor.

mod detail;
mod edit;
mod editor;
mod followed;
mod keys;
mod link;
mod list;
mod model;
mod page;
mod screen;
mod text;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::Event;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use self::model::{Ask, Effect, Model, News};
use self::screen::Screen;
use self::text::Theme;
use super::Failed;
use super::sign::sign;
use super::way::Way;
use crate::api::WhoAmI;
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::evidence::Signature;

/// How many requests of the person may wait for the gateway.
const ASKS: usize = 16;
/// How many answers may wait for the screen.
const NEWS: usize = 64;
/// How long verdicts that were given may take to be sent when the person has left already.
const LAST_ASKS: Duration = Duration::from_secs(10);
/// How long a key is waited for before news are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Whether there is a terminal that a full screen can be drawn on.
pub(super) fn can_show() -> bool {
    std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal()
        && config::variable("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// Who signs what is decided, and with which key.
struct Signer {
    key: PathBuf,
    name: String,
}

/// Shows the inbox until the person leaves or the process is told to end. With a key, what is decided is
/// signed.
pub(super) async fn run(way: &Way, sign_with: Option<PathBuf>) -> Result<(), Failed> {
    let signer = match sign_with {
        Some(key) if !key.exists() => {
            return Err(Failed::new(2, format!("{}: there is no such key file", key.display())));
        }
        Some(key) => {
            let me: WhoAmI = way.get("/api/v1/whoami").await?;
            Some(Signer { key, name: me.name })
        }
        None => None,
    };
    let stop = Stop::listen()?;
    let (asks, asked) = channel(ASKS);
    let (told, news) = channel(NEWS);
    let handle = Handle::current();
    let inbox = Inbox { asks, news, stop, handle, signer };
    let mut seen = tokio::task::spawn_blocking(move || inbox.show());
    let link = link::keep(way, asked, told);
    tokio::pin!(link);
    let shown = tokio::select! {
        shown = &mut seen => {
            // The screen is left; what was asked last is still said to the gateway.
            tokio::select! {
                () = link => {}
                () = SystemClock::new().sleep(LAST_ASKS) => {}
            }
            shown
        }
        () = &mut link => seen.await,
    };
    shown.map_err(anyhow::Error::from)?
}

/// How the process is told to end.
struct Stop {
    /// SIGTERM, or the terminal has gone.
    ended: CancellationToken,
    /// SIGINT. While an editor runs, it is meant for that.
    interrupted: Arc<AtomicBool>,
}

impl Stop {
    fn listen() -> Result<Self, Failed> {
        let ended = CancellationToken::new();
        let interrupted = Arc::new(AtomicBool::new(false));
        let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
        let (end, mark) = (ended.clone(), Arc::clone(&interrupted));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => end.cancel(),
                    _ = hangup.recv() => end.cancel(),
                    _ = interrupt.recv() => mark.store(true, Ordering::Relaxed),
                    () = end.cancelled() => return,
                }
            }
        });
        Ok(Self { ended, interrupted })
    }

    fn is_wanted(&self) -> bool {
        self.ended.is_cancelled() || self.interrupted.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// The person's side: the terminal, on a thread that may block.
struct Inbox {
    asks: Sender<Ask>,
    news: Receiver<News>,
    stop: Stop,
    handle: Handle,
    signer: Option<Signer>,
}

impl Inbox {
    fn show(mut self) -> Result<(), Failed> {
        let clock = SystemClock::new();
        let colour = config::variable("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = Screen::enter()?;
        let signs_as = self.signer.as_ref().map(|signer| signer.name.clone());
        let mut model = Model::new(Theme { colour }, screen.size()?, signs_as);
        let mut drawn = None;
        while !self.stop.is_wanted() {
            let now = clock.now();
            while let Ok(news) = self.news.try_recv() {
                let effect = model.see(news);
                if self.perform(effect, &mut model, &mut screen)? {
                    return Ok(());
                }
                drawn = None;
            }
            if drawn != Some(now.as_second()) {
                screen.draw(|frame| view::draw(&model, now, frame))?;
                drawn = Some(now.as_second());
            }
            if model.drawn(clock.monotonic()) {
                // What can be answered now is said before the answer is read.
                drawn = None;
                continue;
            }
            let Some(event) = screen.event(TICK)? else { continue };
            drawn = None;
            let effect = heard(&event, &mut model);
            if self.perform(effect, &mut model, &mut screen)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Does what the model asks for; says whether the person wants to leave.
    fn perform(
        &self,
        effect: Option<Effect>,
        model: &mut Model,
        screen: &mut Screen,
    ) -> Result<bool, Failed> {
        match effect {
            None => {}
            Some(Effect::Quit) => return Ok(true),
            Some(Effect::Ask(ask)) => {
                let asked = self.asks.try_send(ask);
                asked.unwrap_or_else(|_| model.unasked());
            }
            Some(Effect::Sign(id, mut given, message)) => {
                let Some(signer) = &self.signer else { return Ok(false) };
                screen.leave()?;
                let signed = sign(&signer.key, &message);
                self.stop.interrupted.store(false, Ordering::Relaxed);
                screen.come_back()?;
                model.resized(screen.size()?);
                match signed {
                    Ok(signature) => {
                        given.signature = Some(Signature::Ssh(signature));
                        return self.perform(
                            Some(Effect::Ask(Ask::Decide(id, given))),
                            model,
                            screen,
                        );
                    }
                    Err(failed) => model.unsigned(&failed.told),
                }
            }
            Some(Effect::Edit(text)) => {
                screen.leave()?;
                let left = self.handle.block_on(editor::edit(&text, &self.stop.ended));
                self.stop.interrupted.store(false, Ordering::Relaxed);
                screen.come_back()?;
                model.resized(screen.size()?);
                model.edited(left);
            }
        }
        Ok(false)
    }
}

fn heard(event: &Event, model: &mut Model) -> Option<Effect> {
    match event {
        Event::Key(key) => model.key(key),
        Event::Paste(text) => {
            model.paste(text);
            None
        }
        Event::Resize(columns, lines) => {
            model.resized((*columns, *lines));
            None
        }
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}
