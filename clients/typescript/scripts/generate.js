#!/usr/bin/env node
/**
 * Generates `src/gen`: the contract, the rules in its options, and the `google.rpc` messages of error details.
 *
 * Usage: generate.js IMAGE OUT_DIR
 *
 * IMAGE is a FileDescriptorSet of the contract with its imports and comments. OUT_DIR is replaced.
 * ENGAGEMENT_PROTOC is the command line of a protoc, by default `protoc`; ENGAGEMENT_PYTHON is a Python with the
 * package `googleapis-common-protos`, which holds `google/rpc/*.proto`, by default `python3`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const CONTRACT_PACKAGE = "engagement.v1";
const CONTRACT_FOLDER = "engagement/v1";
const RULES_FILE = "buf/validate/validate.proto";
const STATUS_FILES = ["google/rpc/status.proto", "google/rpc/error_details.proto"];
const PLUGIN = fileURLToPath(new URL("../node_modules/.bin/protoc-gen-es", import.meta.url));

/** Runs protoc with the plugin over `files`. */
function generate(files, inputs, outDir) {
  const [command, ...prefix] = (process.env.ENGAGEMENT_PROTOC ?? "protoc").split(" ");
  const plugin = [`--plugin=protoc-gen-es=${PLUGIN}`, `--es_out=${outDir}`, "--es_opt=target=ts,import_extension=js"];
  execFileSync(command, [...prefix, ...inputs, ...plugin, ...files], { stdio: "inherit" });
}

/** The folder that contains `google/rpc`. */
function googleapis() {
  const program = "import pathlib, google.rpc.status_pb2 as m; print(pathlib.Path(m.__file__).parents[2])";
  const python = process.env.ENGAGEMENT_PYTHON ?? "python3";
  return execFileSync(python, ["-c", program], { encoding: "utf8" }).trim();
}

/** The text of the module that exports the whole contract. */
function facade(contractFiles) {
  const modules = contractFiles.map((file) => `${basename(file, ".proto")}_pb.js`);
  const exports = modules.map((module) => `export * from "./${module}";`);
  return ["// Generated: every message, enum and service of the contract.", ...exports, ""].join("\n");
}

const [image, outDir] = process.argv.slice(2).map((argument) => resolve(argument));
if (image === undefined || outDir === undefined) {
  console.error("usage: generate.js IMAGE OUT_DIR");
  process.exit(2);
}
const contractFiles = fromBinary(FileDescriptorSetSchema, readFileSync(image))
  .file.filter((file) => file.package === CONTRACT_PACKAGE)
  .map((file) => file.name)
  .sort();

rmSync(outDir, { recursive: true, force: true });
mkdirSync(outDir, { recursive: true });
generate([...contractFiles, RULES_FILE], [`--descriptor_set_in=${image}`], outDir);
generate(STATUS_FILES, [`-I${googleapis()}`], outDir);
writeFileSync(join(outDir, CONTRACT_FOLDER, "index.ts"), facade(contractFiles));
