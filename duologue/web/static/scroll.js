/** Keeps the end in sight while text grows, unless the reader has gone up; asks for older messages at the top. */

const NEAR_PX = 64;

export class Scroller {
  /**
   * @param {object} parts The elements `scroller`, `older` (shown while there are older messages) and `toEnd`.
   * @param {() => Promise<void>} onOlder Loads older messages; awaited before it is called again.
   */
  constructor({ scroller, older, toEnd }, onOlder) {
    Object.assign(this, { scroller, older, toEnd });
    this.following = true;
    this.height = 0;
    scroller.addEventListener('scroll', () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.following && this.toBottom()).observe(scroller);
    toEnd.addEventListener('click', () => {
      this.follow();
      scroller.focus({ preventScroll: true });
    });
    this.watcher = new IntersectionObserver(async ([{ isIntersecting }]) => {
      if (!isIntersecting) return;
      this.watcher.unobserve(older);
      await onOlder();
      this.watcher.observe(older);
    }, { root: scroller, rootMargin: '400px 0px 0px' });
    this.watcher.observe(older);
  }

  scrolled() {
    const { scroller } = this;
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    // Content that grew under a follower has moved the end away, not the reader.
    if (scroller.scrollHeight !== this.height && this.following) return;
    this.following = left < NEAR_PX;
    this.toEnd.hidden = this.following;
  }

  /** Go to the end and stay there. */
  follow() {
    this.following = true;
    this.toEnd.hidden = true;
    this.toBottom();
  }

  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.height = this.scroller.scrollHeight;
  }

  /** Run `change` on the content and keep the reader where they were: at the end, or at the same words. */
  around(change, { grewAbove = false } = {}) {
    const { scroller } = this;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    change();
    if (this.following) this.toBottom();
    else if (grewAbove) scroller.scrollTop = scroller.scrollHeight - fromEnd;
    this.height = scroller.scrollHeight;
  }
}
