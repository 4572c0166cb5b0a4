#include "CPNG.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// ---- errors

static void fail(png_structp png, png_const_charp reason) {
    char *message = png_get_error_ptr(png);
    strncpy(message, reason, CPNG_MESSAGE_SIZE - 1);
    message[CPNG_MESSAGE_SIZE - 1] = 0;
    longjmp(png_jmpbuf(png), 1);
}

static void ignore_warning(png_structp png, png_const_charp warning) {
    (void)png;
    (void)warning;
}

static int refuse(char *message, const char *reason) {
    strncpy(message, reason, CPNG_MESSAGE_SIZE - 1);
    message[CPNG_MESSAGE_SIZE - 1] = 0;
    return -1;
}

// ---- encoding

typedef struct {
    uint8_t *bytes;
    size_t count;
    size_t capacity;
} sink;

static void grow(png_structp png, sink *out, size_t needed) {
    size_t capacity = out->capacity ? out->capacity : 1 << 16;
    while (capacity < needed) {
        if (capacity > SIZE_MAX / 2) png_error(png, "the picture is too large");
        capacity *= 2;
    }
    uint8_t *bytes = realloc(out->bytes, capacity);
    if (!bytes) png_error(png, "out of memory");
    out->bytes = bytes;
    out->capacity = capacity;
}

static void put_bytes(png_structp png, png_bytep data, size_t count) {
    sink *out = png_get_io_ptr(png);
    if (count > SIZE_MAX - out->count) png_error(png, "the picture is too large");
    if (out->count + count > out->capacity) grow(png, out, out->count + count);
    memcpy(out->bytes + out->count, data, count);
    out->count += count;
}

static void flush_nothing(png_structp png) { (void)png; }

static void set_texts(png_structp png, png_infop info, const cpng_text *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        png_text chunk;
        memset(&chunk, 0, sizeof chunk);
        chunk.compression = texts[i].international ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
        chunk.key = (png_charp)texts[i].keyword;
        chunk.text = (png_charp)texts[i].text;
        png_set_text(png, info, &chunk, 1);
    }
}

int cpng_encode(const uint8_t *rgb, uint32_t width, uint32_t height, const cpng_text *texts, size_t text_count,
                uint8_t **bytes, size_t *byte_count, char *message) {
    // A pointer, so that what it points to keeps its value across longjmp.
    sink *out = calloc(1, sizeof *out);
    if (!out) return refuse(message, "out of memory");
    png_infop info = NULL;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, fail, ignore_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        free(out);
        return refuse(message, "out of memory");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        free(out->bytes);
        free(out);
        return -1;
    }
    png_set_write_fn(png, out, put_bytes, flush_nothing);
    png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    set_texts(png, info, texts, text_count);
    png_write_info(png, info);
    for (uint32_t y = 0; y < height; y++) png_write_row(png, rgb + (size_t)y * width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    *bytes = out->bytes;
    *byte_count = out->count;
    free(out);
    return 0;
}

// ---- decoding

struct cpng_reader {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t count;
    size_t position;
    png_textp texts;
    int text_count;
    char message[CPNG_MESSAGE_SIZE];
};

static void take_bytes(png_structp png, png_bytep data, size_t count) {
    cpng_reader *reader = png_get_io_ptr(png);
    if (count > reader->count - reader->position) png_error(png, "it is cut short");
    memcpy(data, reader->bytes + reader->position, count);
    reader->position += count;
}

static cpng_reader *new_reader(const uint8_t *bytes, size_t byte_count) {
    cpng_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return NULL;
    reader->bytes = bytes;
    reader->count = byte_count;
    reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader->message, fail, ignore_warning);
    if (reader->png) reader->info = png_create_info_struct(reader->png);
    if (reader->info) return reader;
    cpng_close(reader);
    return NULL;
}

int cpng_open(const uint8_t *bytes, size_t byte_count, uint32_t largest_side, cpng_reader **opened, uint32_t *width,
              uint32_t *height, char *message) {
    *opened = NULL;
    if (byte_count < 8 || png_sig_cmp(bytes, 0, 8)) return refuse(message, "it is no PNG file");
    cpng_reader *reader = new_reader(bytes, byte_count);
    if (!reader) return refuse(message, "out of memory");
    *opened = reader;
    if (setjmp(png_jmpbuf(reader->png))) return refuse(message, reader->message);
    png_set_read_fn(reader->png, reader, take_bytes);
    png_set_user_limits(reader->png, largest_side, largest_side);
    png_read_info(reader->png, reader->info);
    *width = png_get_image_width(reader->png, reader->info);
    *height = png_get_image_height(reader->png, reader->info);
    return 0;
}

static void ask_for_rgb(cpng_reader *reader) {
    png_set_scale_16(reader->png);
    png_set_expand(reader->png);
    png_set_gray_to_rgb(reader->png);
    png_set_strip_alpha(reader->png);
}

int cpng_read(cpng_reader *reader, uint8_t *rgb, char *message) {
    if (setjmp(png_jmpbuf(reader->png))) return refuse(message, reader->message);
    ask_for_rgb(reader);
    int passes = png_set_interlace_handling(reader->png);
    png_read_update_info(reader->png, reader->info);
    size_t row = (size_t)png_get_image_width(reader->png, reader->info) * 3;
    if (png_get_rowbytes(reader->png, reader->info) != row) png_error(reader->png, "its pixels are of an unknown kind");
    uint32_t height = png_get_image_height(reader->png, reader->info);
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < height; y++) png_read_row(reader->png, rgb + y * row, NULL);
    }
    png_read_end(reader->png, reader->info);
    reader->text_count = png_get_text(reader->png, reader->info, &reader->texts, NULL);
    return 0;
}

size_t cpng_text_count(const cpng_reader *reader) { return (size_t)reader->text_count; }

cpng_text cpng_text_at(const cpng_reader *reader, size_t index) {
    png_textp chunk = &reader->texts[index];
    cpng_text text = {chunk->key, chunk->text ? chunk->text : "", chunk->compression >= PNG_ITXT_COMPRESSION_NONE};
    return text;
}

void cpng_close(cpng_reader *reader) {
    if (!reader) return;
    if (reader->png) png_destroy_read_struct(&reader->png, &reader->info, NULL);
    free(reader);
}
