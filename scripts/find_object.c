/* gcc's unwinder asks glibc where the unwind tables of a program are; musl does not have that function.
 * In a static program there is one object, and its program headers tell.
 * It also refers to the thread functions weakly, which brings none of them out of an archive; this does.
 * For scripts/build-static. */
#include <elf.h>
#include <pthread.h>
#include <stddef.h>

void *const unwinder_needs[] = {
    pthread_once,       pthread_key_create,   pthread_getspecific, pthread_setspecific,
    pthread_mutex_lock, pthread_mutex_unlock, pthread_create,
};

struct phdr_info { /* the start of musl's struct dl_phdr_info */
  size_t base;
  const char *name;
  const Elf64_Phdr *headers;
  Elf64_Half count;
};
int dl_iterate_phdr(int (*each)(struct phdr_info *, size_t, void *), void *data);

struct found { /* glibc's struct dl_find_object, as on x86_64 and aarch64 */
  unsigned long long flags;
  void *start, *end, *map, *eh_frame_header;
  unsigned long long reserved[7];
};

static int look(struct phdr_info *object, size_t size, void *data) {
  struct found *found = data;
  (void)size;
  for (int i = 0; i < object->count; i++)
    if (object->headers[i].p_type == PT_GNU_EH_FRAME)
      found->eh_frame_header = (void *)(object->base + object->headers[i].p_vaddr);
  return found->eh_frame_header != NULL;
}

int _dl_find_object(void *address, struct found *found) {
  (void)address;
  found->eh_frame_header = NULL;
  return dl_iterate_phdr(look, found) ? 0 : -1;
}
