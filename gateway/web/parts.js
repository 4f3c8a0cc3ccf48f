// Pieces that more than one view is made of.
import {el} from './dom.js';
import {group} from './decimal.js';

// choice is a group of radio buttons that looks like one control.
export function choice(legend, name, options, chosen, change) {
  return el('fieldset', {class: 'choice'},
    el('legend', {class: 'sr'}, legend),
    options.map(([value, text]) => el('label', {},
      el('input', {type: 'radio', name, id: `${name}-${value}`, value, checked: value === chosen, onchange: () => change(value)}),
      el('span', {}, text))));
}

// toggle is a button that is pressed or not.
export function toggle(text, on, change, id) {
  const b = el('button', {type: 'button', class: 'toggle', id, 'aria-pressed': String(on), onclick: () => {
    on = !on;
    b.setAttribute('aria-pressed', String(on));
    change(on);
  }}, text);
  return b;
}

// fact is a term with its value: what the reader gets is the value, to be filled.
export function fact(term, value, note) {
  return el('div', {class: 'fact'}, el('dt', {}, term), el('dd', {}, value, note && el('span', {class: 'note'}, note)));
}

// copyable shows a line to take along, with a button that does.
export function copyable(text, what) {
  const button = el('button', {type: 'button', class: 'copy', 'aria-label': `Copy ${what}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not allowed';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }}, 'Copy');
  return button;
}

// lagEvents is how many events of the log are not applied, marked where some of
// them are an estimate.
export const lagEvents = s => (s.lag_events_estimated > 0 ? '~' : '') + group(String(s.lag_events));

// lagSeconds is how old what is applied is, where that is known.
export const lagSeconds = s => s.lag_seconds === undefined ? '?' : s.lag_seconds.toFixed(1);

// lagOf is the lag of the whole system in words.
export const lagOf = s => s.lag === 0 ? 'none' :
  `${lagEvents(s)} ${s.lag_events === 1 ? 'event' : 'events'}, ${lagSeconds(s)} s`;

export function failed(err) {
  return el('p', {class: 'failed'}, err.status === 0 ? 'The server does not answer.' : `This could not be read: ${err.message}.`);
}
