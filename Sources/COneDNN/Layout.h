// Memory descriptors are plain structures in oneDNN 2 and owned handles in oneDNN 3: one face for both.
#ifndef CALDERA_CONEDNN_LAYOUT_H
#define CALDERA_CONEDNN_LAYOUT_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t layout_ref;
typedef struct {
    dnnl_memory_desc_t handle;
} layout;

static inline layout_ref layout_view(const layout *l) { return l->handle; }
static inline dnnl_status_t layout_tagged(
    layout *l, int rank, const dnnl_dims_t extents, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(&l->handle, rank, extents, type, tag);
}
static inline dnnl_status_t layout_strided(
    layout *l, int rank, const dnnl_dims_t extents, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(&l->handle, rank, extents, type, strides);
}
static inline void layout_release(layout *l) {
    if (l->handle) dnnl_memory_desc_destroy(l->handle);
    l->handle = NULL;
}

#else

typedef const dnnl_memory_desc_t *layout_ref;
typedef struct {
    dnnl_memory_desc_t value;
} layout;

static inline layout_ref layout_view(const layout *l) { return &l->value; }
static inline dnnl_status_t layout_tagged(
    layout *l, int rank, const dnnl_dims_t extents, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(&l->value, rank, extents, type, tag);
}
static inline dnnl_status_t layout_strided(
    layout *l, int rank, const dnnl_dims_t extents, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(&l->value, rank, extents, type, strides);
}
static inline void layout_release(layout *l) { memset(l, 0, sizeof *l); }

#endif

#endif
