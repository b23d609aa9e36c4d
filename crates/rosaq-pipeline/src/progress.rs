//! How long work shows that it goes on: bars on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere.
    Quiet,
    /// A line on standard error now and then.
    Lines,
    /// A bar with the time left on standard error.
    Bars,
}

/// Bars count in thousandths of the whole.
const WHOLE: u64 = 1000;
/// Time between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// Bars when standard error is a terminal, else lines.
    #[must_use]
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// Starts a stage called `title`.
    #[must_use]
    pub fn stage(self, title: &str) -> Stage {
        let bar = ProgressBar::with_draw_target(Some(WHOLE), ProgressDrawTarget::hidden());
        if self == Self::Bars {
            let template = "{prefix:<12} {wide_bar} {percent:>3}%  {elapsed_precise}, {eta} left";
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(title.to_owned());
        }
        let now = Instant::now();
        Stage { mode: self, title: title.to_owned(), bar, started: now, last_line: Cell::new(now) }
    }

    /// Says one line.
    pub fn say(self, line: &str) {
        if self != Self::Quiet {
            eprintln!("{line}");
        }
    }
}

/// A stage under way.
#[derive(Debug)]
pub struct Stage {
    mode: Progress,
    title: String,
    bar: ProgressBar,
    started: Instant,
    last_line: Cell<Instant>,
}

impl Stage {
    /// Tells the share done, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share in thousandths"
    )]
    pub fn set(&self, share: f64) {
        let share = share.clamp(0.0, 1.0);
        self.bar.set_position((share * WHOLE as f64) as u64);
        if self.mode == Progress::Lines && self.last_line.get().elapsed() >= LINE_INTERVAL {
            self.last_line.set(Instant::now());
            let elapsed = self.started.elapsed().as_secs_f64();
            let (percent, title) = (share * 100.0, &self.title);
            // Before a hundredth is done nobody knows how long the rest will take.
            let left = if share < 0.01 {
                String::new()
            } else {
                format!(", about {:.0} s left", elapsed / share - elapsed)
            };
            eprintln!("{title}: {percent:.0} %, {elapsed:.0} s{left}");
        }
    }

    /// Ends the stage.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        let (title, seconds) = (&self.title, self.started.elapsed().as_secs_f64());
        self.mode.say(&format!("{title}: done in {seconds:.1} s"));
    }
}
