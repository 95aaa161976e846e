//! Makes the C bindings of a world of the contract: `bindings WIT-FOLDER WORLD OUT-FOLDER`. What `wit-bindgen c` does, without the other
//! languages, and thus compiled in a fraction of the time.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, wit_parser::Resolve};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wit, world, out] = arguments.as_slice() else {
        anyhow::bail!(
            "three arguments: the folder of the contract, a world, and the folder to write to"
        );
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;
    let out = PathBuf::from(out);
    fs::create_dir_all(&out)?;
    for (name, contents) in files.iter() {
        fs::write(out.join(name), contents).with_context(|| name.to_owned())?;
    }
    Ok(())
}
