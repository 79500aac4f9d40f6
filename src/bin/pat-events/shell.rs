//! `pat-events completions` and `pat-events man`: what shells and `man` know of the program. In: a shell, or a folder. Out: a script, or pages.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::{Outcome, Program, documented};

/// Print what makes a shell complete commands and options.
///
/// bash: pat-events completions bash > ~/.local/share/bash-completion/completions/pat-events; zsh: pat-events completions zsh > a folder of $fpath as
/// _pat-events; fish: pat-events completions fish > ~/.config/fish/completions/pat-events.fish.
#[derive(Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Outcome {
        let mut script = Vec::new();
        let mut command = Program::command();
        clap_complete::generate(self.shell, &mut command, "pat-events", &mut script);
        Ok(io::stdout().write_all(&script)?)
    }
}

/// Print the manual page, or write a page for each command into a folder.
#[derive(Args)]
pub struct Man {
    /// Write pat-events.1, pat-events-topics.1 and so on into this folder; it is created.
    #[arg(short, long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Man {
    pub fn run(&self) -> Outcome {
        let command = documented(Program::command()).disable_help_subcommand(true);
        match &self.out {
            None => {
                let mut page = Vec::new();
                Page::new(command).render(&mut page)?;
                Ok(io::stdout().write_all(&page)?)
            }
            Some(folder) => fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder))
                .map_err(|error| format!("{}: {error}", folder.display()).into()),
        }
    }
}
