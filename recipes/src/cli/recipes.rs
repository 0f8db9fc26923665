use anyhow::{Result, bail};

use super::print;
use crate::config::Recipe;
use crate::shipped;

/// Lists the recipes inside this binary, or prints one of them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print this recipe, to start one's own from.
    name: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.name {
        let Some(shipped) = shipped::ALL.iter().find(|shipped| shipped.name == name) else {
            bail!("there is no recipe `{name}` in this binary; `stearin recipes` lists them");
        };
        return print(shipped.text);
    }
    let width = shipped::ALL.iter().map(|shipped| shipped.name.len()).max().unwrap_or_default();
    for shipped in shipped::ALL {
        let recipe = Recipe::parse(&format!("{}.toml", shipped.name), shipped.text)?;
        print(&format!("{:width$}  {}\n", shipped.name, recipe.about))?;
    }
    Ok(())
}
