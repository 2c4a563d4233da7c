// What users of three JavaScript clients do with a FHIR server; prints what came of it as JSON.
// Usage: node drivers.mjs <client> <node_modules>, with FHIR_URL and FHIR_KEY in the environment.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [name, modules] = process.argv.slice(2);
const { FHIR_URL: url, FHIR_KEY: key } = process.env;
const require = createRequire(pathToFileURL(`${modules}/index.js`));
const load = (path) => import(pathToFileURL(require.resolve(path)));

const patient = (family) => ({ resourceType: "Patient", name: [{ family }], active: true });
const families = (bundle) => (bundle.entry ?? []).map((e) => e.resource.name[0].family).sort();
const entry = (method, url, resource) => ({ request: { method, url }, ...(resource && { resource }) });
const bundle = (type, entry) => ({ resourceType: "Bundle", type, entry });
const statuses = (answer) => answer.entry.map((e) => e.response.status.slice(0, 3));
const failure = async (promise, status) => promise.then(() => "no error", status);

async function fhirKitClient() {
  const { Client } = await import(pathToFileURL(`${modules}/fhir-kit-client/dist/index.js`));
  const client = new Client({ baseUrl: url, bearerToken: key });
  const made = [];
  for (let n = 0; n < 5; n++)
    made.push(await client.create({ resourceType: "Patient", body: patient(`Kit${n}`) }));
  const { id } = made[0];
  const first = await client.search({ resourceType: "Patient", searchParams: { name: "Kit", _count: 2 } });
  const pages = [first];
  while (pages.at(-1).link.some((l) => l.relation === "next"))
    pages.push(await client.nextPage({ bundle: pages.at(-1) }));
  const back = await client.prevPage({ bundle: pages[1] });
  const read = await client.read({ resourceType: "Patient", id });
  await client.update({ resourceType: "Patient", id, body: { ...read, active: false } });
  await client.patch({ resourceType: "Patient", id,
    jsonPatch: [{ op: "add", path: "/gender", value: "female" }] });
  const patched = await client.read({ resourceType: "Patient", id });
  const old = await client.vread({ resourceType: "Patient", id, version: "1" });
  const history = await client.history({ resourceType: "Patient", id });
  const everything = await client.operation({ name: "everything", resourceType: "Patient", id, method: "GET" });
  const compartment = await client.search({ resourceType: "Observation", compartment: { resourceType: "Patient", id } });
  const done = await client.transaction({ body: bundle("transaction", [
    entry("POST", "Patient", patient("KitT")), entry("GET", "Patient?name=KitT")]) });
  const batch = await client.batch({ body: bundle("batch", [
    entry("GET", `Patient/${id}`), entry("GET", "Patient/nobody")]) });
  await client.delete({ resourceType: "Patient", id });
  const statement = await client.capabilityStatement();
  return {
    pages: pages.map(families), back: families(back), patched: [patched.active, patched.gender, patched.meta.versionId],
    old: old.active, history: history.total, everything: everything.entry.length,
    compartment: compartment.entry?.length ?? 0, transaction: statuses(done), batch: statuses(batch),
    gone: await failure(client.read({ resourceType: "Patient", id }), (e) => e.response.status),
    invalid: await failure(client.create({ resourceType: "Patient", body: { resourceType: "Patient", gender: "x" } }),
      (e) => [e.response.status, e.response.data.issue[0].expression[0]]),
    statement: [statement.fhirVersion, statement.kind],
  };
}

async function fhirClient() {
  const Client = require("fhirclient/lib/Client").default;
  const Adapter = require("fhirclient/lib/adapters/NodeAdapter").default;
  const { fetchWellKnownJson, getSecurityExtensions } = require("fhirclient/lib/smart");
  const environment = new Adapter({ request: {}, response: {}, storage: {} });
  const client = new Client(environment, { serverUrl: url, tokenResponse: { access_token: key } });
  const made = [];
  for (let n = 0; n < 5; n++) made.push(await client.create(patient(`Smart${n}`)));
  const { id } = made[0];
  const all = await client.request("Patient?name=Smart&_count=2", { pageLimit: 0, flat: true });
  const updated = await client.update({ ...made[0], active: false });
  await client.patch(`Patient/${id}`, [{ op: "add", path: "/gender", value: "female" }]);
  const patched = await client.request(`Patient/${id}`);
  const observation = await client.create({ resourceType: "Observation", status: "final",
    code: { text: "t" }, subject: { reference: `Patient/${id}` } });
  const resolved = await client.request(`Observation/${observation.id}`, { resolveReferences: "subject" });
  const done = await client.request({ url: "", method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify(bundle("transaction", [entry("POST", "Patient", patient("SmartT"))])) });
  const history = await client.request(`Patient/${id}/_history`);
  await client.delete(`Patient/${id}`);
  const configuration = await fetchWellKnownJson(url);
  const extensions = await getSecurityExtensions(url);
  return {
    all: all.map((p) => p.name[0].family).sort(), updated: updated.meta.versionId,
    patched: [patched.active, patched.gender, patched.meta.versionId],
    resolved: resolved.subject.name[0].family, transaction: statuses(done), history: history.total,
    gone: await failure(client.request(`Patient/${id}`), (e) => e.statusCode ?? e.status),
    version: await client.getFhirVersion(), release: await client.getFhirRelease(),
    smart: [configuration.token_endpoint === extensions.tokenUri, configuration.capabilities.length > 0],
  };
}

async function medplum() {
  const { MedplumClient } = await load("@medplum/core");
  const base = url.slice(0, url.indexOf("v1/fhir"));
  const client = new MedplumClient({ baseUrl: base, fhirUrlPath: "v1/fhir", fetch, accessToken: key, autoBatchTime: 50 });
  client.setAccessToken(key);
  const made = [];
  for (let n = 0; n < 5; n++) made.push(await client.createResource(patient(`Med${n}`)));
  const { id } = made[0];
  const pages = [];
  for await (const page of client.searchResourcePages("Patient", "name=Med&_count=2"))
    pages.push(page.map((p) => p.name[0].family).sort());
  const twice = [];
  for (let n = 0; n < 2; n++)
    twice.push((await client.createResourceIfNoneExist(patient("MedOnce"), "name=MedOnce")).id);
  const updated = await client.updateResource({ ...made[0], active: false });
  const patched = await client.patchResource("Patient", id, [{ op: "add", path: "/gender", value: "female" }]);
  client.invalidateAll();
  const many = await Promise.all(made.map((p) => client.readResource("Patient", p.id)));
  const history = await client.readHistory("Patient", id);
  const old = await client.readVersion("Patient", id, "1");
  const done = await client.executeBatch(bundle("transaction", [
    entry("POST", "Patient", patient("MedT")), entry("GET", "Patient?name=MedT")]));
  const graph = await client.graphql(`{ Patient(id: "${id}") { name { family } } }`);
  await client.deleteResource("Patient", id);
  return {
    pages, once: twice[0] === twice[1], updated: updated.meta.versionId,
    patched: [patched.active, patched.gender, patched.meta.versionId],
    many: many.map((p) => p.name[0].family), history: history.entry.length, old: old.active,
    transaction: statuses(done), graph: graph.data.Patient.name[0].family,
    gone: await failure(client.readResource("Patient", id, { cache: "reload" }), (e) => e.outcome.issue[0].code),
    invalid: await failure(client.createResource({ resourceType: "Patient", gender: "x" }),
      (e) => e.outcome.issue[0].expression[0]),
  };
}

const drivers = { "fhir-kit-client": fhirKitClient, fhirclient: fhirClient, "@medplum/core": medplum };
console.log(JSON.stringify(await drivers[name]()));
process.exit(0);
