//! Generates the messages, service stubs and validators of the crate: `engagement-codegen IMAGE OUT_DIR`.
//!
//! IMAGE is a `FileDescriptorSet` of the contract with its imports and comments. OUT_DIR gets one file of
//! each. No protoc is needed.

mod services;
mod validators;

use std::{env, fs, path::Path};

use anyhow::{Context, Result, bail};
use buffa_codegen::{
    CodeGenConfig,
    generated::descriptor::{FileDescriptorProto, FileDescriptorSet},
};

const PACKAGE: &str = "engagement.v1";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [image, out_dir] = arguments.as_slice() else {
        bail!("usage: engagement-codegen IMAGE OUT_DIR");
    };
    let image = fs::read(image).with_context(|| format!("cannot read {image}"))?;
    let files = buffa_codegen::tooling_decode_options()
        .map_err(anyhow::Error::msg)?
        .decode_from_slice::<FileDescriptorSet>(&image)
        .context("the image is not a FileDescriptorSet")?
        .file;
    let out_dir = Path::new(out_dir);
    fs::create_dir_all(out_dir)?;
    fs::write(out_dir.join("messages.rs"), messages(&files)?)?;
    fs::write(out_dir.join("services.rs"), services::generate(contract(&files))?)?;
    fs::write(out_dir.join("validators.rs"), validators::generate(&files)?)?;
    Ok(())
}

/// The files of the contract itself, without their imports.
fn contract(files: &[FileDescriptorProto]) -> impl Iterator<Item = &FileDescriptorProto> {
    files.iter().filter(|file| file.package.as_deref() == Some(PACKAGE))
}

fn contract_names(files: &[FileDescriptorProto]) -> Vec<String> {
    contract(files).filter_map(|file| file.name.clone()).collect()
}

fn messages(files: &[FileDescriptorProto]) -> Result<String> {
    let mut config = CodeGenConfig::default();
    config.file_per_package = true;
    config.idiomatic_imports = true;
    config.generate_views = false;
    config.emit_register_fn = false;
    config.generate_json = true;
    config.gate_impls_on_crate_features = true;
    let generated = buffa_codegen::generate(files, &contract_names(files), &config)?;
    let [file] = generated.as_slice() else {
        bail!("expected one file of messages, got {}", generated.len());
    };
    Ok(file.content.clone())
}
