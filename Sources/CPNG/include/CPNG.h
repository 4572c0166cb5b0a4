#ifndef CPNG_H
#define CPNG_H

#include <stddef.h>
#include <stdint.h>

// libpng reports errors by longjmp, which must not cross Swift frames. These functions keep it inside C: each returns
// 0, or -1 with the reason in `message`.

#define CPNG_MESSAGE_SIZE 160

typedef struct {
    // 1 to 79 Latin-1 characters.
    const char *keyword;
    // Ends with NUL: UTF-8 where `international` is set (written as iTXt), Latin-1 otherwise (tEXt).
    const char *text;
    int international;
} cpng_text;

// Encodes 8-bit RGB rows without gaps. On success `*bytes` is to be given to free().
int cpng_encode(const uint8_t *rgb, uint32_t width, uint32_t height, const cpng_text *texts, size_t text_count,
                uint8_t **bytes, size_t *byte_count, char *message);

typedef struct cpng_reader cpng_reader;

// Reads the header of a PNG file in memory; `bytes` must outlive the reader. Pictures of more than `largest_side`
// pixels on a side are refused. `*reader` is to be closed whatever is returned, unless it is NULL.
int cpng_open(const uint8_t *bytes, size_t byte_count, uint32_t largest_side, cpng_reader **reader, uint32_t *width,
              uint32_t *height, char *message);

// Decodes the picture as 8-bit RGB into width * height * 3 bytes, and the text chunks. Alpha is dropped.
int cpng_read(cpng_reader *reader, uint8_t *rgb, char *message);

// The text chunks, once cpng_read has succeeded; the pointers live until the reader is closed.
size_t cpng_text_count(const cpng_reader *reader);
cpng_text cpng_text_at(const cpng_reader *reader, size_t index);

void cpng_close(cpng_reader *reader);

#endif
