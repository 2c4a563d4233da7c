// Starts the API reference on the page's own document, with the signed-in person's sandbox key.
// Nothing is loaded from or sent to another host: no fonts, no proxy, no agent, no telemetry.

const place = document.getElementById("explorer");
const { documentUrl, key, project } = place.dataset;

const authentication = { preferredSecurityScheme: "ApiKey", securitySchemes: {} };
if (key) {
  authentication.securitySchemes.ApiKey = { token: key };
}

window.Scalar.createApiReference(place, {
  url: documentUrl,
  servers: [{ url: window.location.origin, description: "This server" }],
  authentication,
  persistAuth: false,
  withDefaultFonts: false,
  proxyUrl: "",
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  defaultOpenAllTags: false,
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  operationTitleSource: "summary",
  documentDownloadType: "json",
  metaData: { title: "HealthCloud API explorer" },
});

if (project) {
  document.documentElement.dataset.project = project;
}
