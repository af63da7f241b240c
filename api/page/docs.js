/**
 * The documentation page: Swagger UI over this server's OpenAPI document.
 *
 * Swagger UI is a package of other people, which the build puts into `assets/`. An installation
 * without these files says so, and shows where the document itself is.
 */

const calls = document.getElementById('calls');
const isDark = matchMedia('(prefers-color-scheme: dark)');

const followScheme = () => document.documentElement.classList.toggle('dark-mode', isDark.matches);

/** Show Swagger UI in place of the note. */
function show() {
  window.SwaggerUIBundle({
    url: './openapi.json',
    domNode: calls,
    deepLinking: true,
    displayRequestDuration: true,
    // By default it sends the document to another server, which draws a badge.
    validatorUrl: null,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: 'BaseLayout',
  });
}

/** Say that the files are missing, and what there is. */
function explain() {
  const link = document.createElement('a');
  link.href = './openapi.json';
  link.textContent = 'openapi.json';
  const note = document.getElementById('note');
  note.replaceChildren(
    'The files of Swagger UI are not installed here. The documentation for programs is ',
    link,
    ', which tools such as Postman can open.',
  );
}

followScheme();
isDark.addEventListener('change', followScheme);
// Not a module: it sets a global variable.
const script = document.createElement('script');
script.src = './assets/swagger-ui-bundle.js';
script.addEventListener('load', show);
script.addEventListener('error', explain);
document.head.append(script);
