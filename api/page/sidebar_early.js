/**
 * Runs before the first paint: a list of conversations that will be open on a wide screen has its room from the start,
 * so nothing jumps when the modules open it. It is not a module, because modules run after the first paint.
 */
try {
  if (localStorage.getItem('tickertape:sidebar') === 'true') document.documentElement.classList.add('sidebar-early')
} catch {
  // The browser forbids storage, so nothing was kept.
}
